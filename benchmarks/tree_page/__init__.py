"""The tree of a loss as a page to look at, and as files for other tools.

``page.write_tree_page`` writes the page, ``run_folder.write_run_page`` that of a run of the suite;
``command.tree`` is the command.
"""
