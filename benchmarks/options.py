"""The options that several commands share, and the request that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from .given_settings import GivenSettings, given_settings
from .several_values import FROM_DATASET

if TYPE_CHECKING:
    from .backbones import BackboneChoice
    from .request import RunRequest

DATA, TRAINING, SETTINGS, NETWORK = "Data", "Training", "Settings", "Network"  # panels

Losses = Annotated[
    list[str] | None,
    Option(
        metavar="LOSS...",
        help="Names that the command [bold]list[/] shows. By default the nine baselines, and "
        "HPL on Proxy-NCA and Proxy-Anchor.",
        show_default=False,
    ),
]
Seeds = Annotated[
    list[int],
    Option(metavar="SEED...", help="One training run for each.", rich_help_panel=TRAINING),
]
Folds = Annotated[
    list[int] | None,
    Option(
        metavar="FOLD...",
        help="Quarters of the training classes to validate on, one training run for each. By "
        "default 0 for drawings, and 0 1 2 3 for photographs.",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
TunedFile = Annotated[
    str | None,
    Option(
        metavar="[FILE]",
        help="Use the settings that [bold]tune[/] found: those of FILE, or of the data set's own "
        "file.",
    ),
]


@dataclass(frozen=True)
class SourceOptions:
    """Where a data set is."""

    data_root: Annotated[
        Path | None,
        Option(help="Folder of a data set that is not built in.", rich_help_panel=DATA),
    ] = None
    download: Annotated[
        bool,
        Option("--download", help="Fetch what is not in --data-root yet.", rich_help_panel=DATA),
    ] = False
    skip_broken: Annotated[
        bool,
        Option("--skip-broken", help="Leave out missing and broken images.", rich_help_panel=DATA),
    ] = False

    def fetch(self, dataset: str) -> None:
        """Download what is missing of a data set, if that was asked for."""
        from .datasets import download_dataset

        if self.download:
            download_dataset(dataset, self.data_root)


@dataclass(frozen=True)
class DataOptions(SourceOptions):
    """Which data set, by an argument or an option, and where it is."""

    name: Annotated[
        str | None,
        Argument(
            metavar="DATASET", help="One that the command [bold]list[/] shows.", show_default=False
        ),
    ] = None
    dataset: Annotated[
        str | None, Option(help="Instead of the argument DATASET.", rich_help_panel=DATA)
    ] = None

    def chosen(self, default: str | None = None) -> str:
        """The name of the data set that is asked for.

        Raises:
            ValueError: if there is none, or there are two.
        """
        named = list(dict.fromkeys(n for n in (self.name, self.dataset) if n is not None))
        if len(named) > 1:
            raise ValueError(f"give one data set, not {named[0]} and --dataset {named[1]}")
        found = named[0] if named else default
        if found is None:
            raise ValueError("which data set? Name it after the command; `list` shows all")
        return found


@dataclass(frozen=True)
class TrainingOptions:
    """How long, where, and how many runs at a time."""

    regime: Annotated[
        Literal["full", "short"] | None,
        Option(
            help="The full length of training, or a short one for a first look. By default short "
            "for [bold]run[/] and full for the others.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        Option(help="Another number of epochs instead.", rich_help_panel=TRAINING),
    ] = None
    out: Annotated[Path, Option(help="Folder of all results.")] = Path("runs")
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=TRAINING)] = "cpu"
    jobs: Annotated[
        int,
        Option(
            help="Training runs at a time, each in a process with its share of the cores.",
            rich_help_panel=TRAINING,
        ),
    ] = 1

    def length(self, default: str, given: Mapping[str, Any]) -> str:
        """The regime.

        Arguments:
            default: where none was asked for.
            given: settings of the training.

        Raises:
            ValueError: if a number of epochs was given as well.
        """
        epochs = f"--epochs {self.epochs}" if self.epochs is not None else None
        if "epochs" in given:
            epochs = f"--set epochs={given['epochs']}"
        if self.regime is not None and epochs is not None:
            raise ValueError(
                f"give --regime {self.regime} or {epochs}, not both: each says how long training is"
            )
        return self.regime or default


@dataclass(frozen=True)
class NetworkOptions:
    """The network, and which part of it is trained."""

    backbone: Annotated[
        str,
        Option(
            help="glyph, efficientnet_lite0, torchvision:MODEL or timm:MODEL; default is what "
            "suits the data set.",
            rich_help_panel=NETWORK,
        ),
    ] = "default"
    weights: Annotated[
        str, Option(help="pretrained, none, or a file.", rich_help_panel=NETWORK)
    ] = "pretrained"
    train_trunk: Annotated[
        bool,
        Option(
            "--train-trunk",
            help="Train the whole network, not only the head.",
            rich_help_panel=NETWORK,
        ),
    ] = False
    train_from: Annotated[
        str | None,
        Option(
            metavar="[BLOCK]",
            help="Train the trunk from this block on, fast enough for a CPU: what is below it is "
            "computed once. For efficientnet_lite0 BLOCK may be left out; it is then 11.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    views: Annotated[
        int | None,
        Option(
            help="Random crops of each training picture, with --train-from. By default 5.",
            show_default=False,
            rich_help_panel=NETWORK,
        ),
    ] = None
    train_batch_norm: Annotated[
        bool,
        Option(
            "--train-batch-norm",
            help="Train the batch normalisation too, with --train-trunk or --train-from.",
            rich_help_panel=NETWORK,
        ),
    ] = False
    crop: Annotated[
        int | None,
        Option(
            metavar="PIXELS",
            help="Side of the pictures. By default 227, or the model's.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        Option(
            help="Learning rate of trunk and head. By default the data set's.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        Option(help="Images per batch. By default the data set's.", rich_help_panel=NETWORK),
    ] = None
    workers: Annotated[
        int,
        Option(
            help="Processes that load images, in training or for features.",
            rich_help_panel=NETWORK,
        ),
    ] = 0

    def choice(self) -> BackboneChoice:
        """The network as plain values.

        Raises:
            ValueError: for options that exclude or require one another.
        """
        from .backbones import DEFAULT, BackboneChoice
        from .backbones.choice import FROZEN, TRAINED, VIEWS

        if self.train_trunk and self.train_from is not None:
            raise ValueError(
                "give --train-trunk (all of the network) or --train-from (its upper blocks), "
                "not both"
            )
        if self.views is not None and self.train_from is None:
            raise ValueError("--views has no effect here: add --train-from, or leave --views out")
        return BackboneChoice(
            self.backbone,
            self.weights,
            self.train_trunk,
            TRAINED if self.train_batch_norm else FROZEN,
            self.crop,
            DEFAULT if self.train_from == FROM_DATASET else self.train_from,
            VIEWS if self.views is None else self.views,
        )


@dataclass(frozen=True)
class GivenOptions:
    """Settings for this command alone."""

    chosen: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="NAME=VALUE...",
            help="Settings such as level_weights=0.1 num_superclasses=20,5 weight_decay=0.01. Each "
            "applies to every loss that has it, those of the hierarchy to the hierarchical ones; "
            "LOSS.NAME=VALUE is for one loss.",
            show_default=False,
            rich_help_panel=SETTINGS,
        ),
    ] = None
    settings: Annotated[
        Path | None,
        Option(metavar="FILE", help="The same in a YAML file.", rich_help_panel=SETTINGS),
    ] = None

    def read(self) -> GivenSettings:
        """What was given; see :func:`~benchmarks.given_settings.given_settings`."""
        return given_settings(self.chosen or (), self.settings)


def make_request(
    dataset: str,
    data: SourceOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    losses: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int] | None,
    regime: str,
    device: str | None = None,
    given: GivenOptions | None = None,
) -> RunRequest:
    """What the options ask for.

    Arguments:
        dataset: its name.
        data, training, network: as they were given.
        losses: their names.
        seeds: of the training runs.
        folds: of the training classes; ``None`` for those of the data set.
        regime: where none was given.
        device: instead of that of ``training``, where every process has one of its own.
        given: settings for this command alone.

    Raises:
        ValueError: for a network that does not exist, two lengths of training, or a setting
            that cannot be read, is not possible or was given twice.
        OSError: if the file of the settings cannot be read.
    """
    from .request import DataSource, RunRequest

    backbone = network.choice()
    settings = GivenSettings() if given is None else given.read()
    return RunRequest(
        source=DataSource(
            dataset,
            data.data_root,
            data.skip_broken,
            backbone,
            device or training.device,
            workers=network.workers,
        ),
        losses=tuple(losses),
        seeds=tuple(seeds),
        folds=None if folds is None else tuple(folds),
        out=training.out,
        regime=training.length(regime, settings.training),
        jobs=training.jobs,
        given=settings.with_options(
            learning_rate=network.learning_rate,
            batch_size=network.batch_size,
            epochs=training.epochs,
        ),
    )
