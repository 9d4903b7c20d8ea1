"""The search page: a gallery in the browser, and the neighbours of a picture in it."""
