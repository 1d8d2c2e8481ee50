"""Inspect a model that somebody else made: is an item in it promoted?"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from recbole.utils import get_local_time

from recbole_attack import __version__
from recbole_attack.defense import DETECTORS, Detection
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.experiment.detection import Judged, detected
from recbole_attack.experiment.suspects import FLAGGED, suspects
from recbole_attack.inspection.calibration import clean_maxima, is_flagged, p_values
from recbole_attack.inspection.catalogue import catalogue
from recbole_attack.inspection.given_model import LOG, GivenModel, item_rows, own_configuration, restored, with_file
from recbole_attack.inspection.local_model import local_model
from recbole_attack.inspection.model_file import ModelFile, read_model_file
from recbole_attack.inspection.options import inspection_options
from recbole_attack.inspection.platform import Platform, cutoffs, prepare_platform
from recbole_attack.inspection.power import noticed
from recbole_attack.utils.errors import DataError, shown
from recbole_attack.utils.files import write_csv, write_folder, write_json
from recbole_attack.utils.words import counted, printable


@dataclass(frozen=True)
class Inspection:
    """What is to be said of a model.

    Attributes:
        header: Names of the columns of ``rows``: those of ``flagged.csv``.
        rows: One for each item of both the model and the platform, the most suspicious first.
        flagged: Tokens of the flagged items.
        verdict: One sentence.
        record: Parameters, hashes, versions and what the verdict rests on.
        folder: Where ``flagged.csv`` and ``inspection.json`` are.
    """

    header: list[str]
    rows: list[list[Any]]
    flagged: list[str]
    verdict: str
    record: dict[str, Any]
    folder: Path

    @property
    def file(self) -> Path:
        """``flagged.csv``."""
        return self.folder / FLAGGED

    def table(self, most: int = 20) -> str:
        """The flagged items, the most suspicious first, as text: whom either model shows them in its longest lists.

        Args:
            most: Lines at the most.
        """
        longest = [name for name in self.header if "@" in name][-2:]
        columns = ["item", self.header[3], self.header[2], *longest, "users", "popularity"]
        places = [self.header.index(name) for name in columns]
        rows = [[printable(str(row[place])) for place in places] for row in self.rows if row[1]]
        widths = [max(map(len, column)) for column in zip(columns, *rows[:most], strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [columns, *rows[:most]]
        ]
        return "\n".join([lines[0], "=" * len(lines[0]), *lines[1:]])


def inspect_model(
    model_file: str | Path,
    model: Any = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    **options: Any,
) -> Inspection:
    """Say whether a model promotes an item, and how sure that is; nothing in its file is run.

    Every detector compares the model, or whom it shows each item, with a model of the platform's own. An item is
    flagged if hardly any clean model would have one as suspicious.

    Args:
        model_file: What ``torch.save`` wrote (a checkpoint of RecBole's or of this package, or a state dict), or
            safetensors.
        model: The model's name or class; what the file says by default.
        dataset: The platform's dataset.
        config_file_list: YAML files.
        config_dict: Parameters of the platform's models; win over files.
        options: ``items``, ``local``, ``detector``, ``clean_models``, ``false_alarms``, ``output``: as
            ``properties/inspect.yaml`` explains them.

    Raises:
        ConfigError: A parameter is not valid, or contradicts the file.
        DataError: A file is missing, damaged, of another model, or could carry code.
        TrainingError: A model of the platform's own diverged.
    """
    asked = inspection_options(options)
    _check_new(asked["output"])
    file = read_model_file(Path(model_file))
    own_file = None if asked["local"] is None else read_model_file(Path(asked["local"]))
    own_config = own_configuration(file, model, dataset, config_file_list, config_dict or {})
    config = with_file(file, own_config)
    platform = prepare_platform(config)
    items = catalogue(platform.dataset, item_rows(config, platform.dataset, file), _path(asked["items"]))
    _tell(platform, file.path, items)
    given = restored(config, platform.dataset, file, items)
    cutoffs(given)  # refuses what cannot be compared before anything is trained
    evidence = platform.evidence(given, local_model(platform, own_file, own_config), platform.users)
    said_by = detected(evidence, config.final_config_dict)
    clean = _clean_scores(platform, given, said_by, asked, file.path)
    record = {
        **_origin(model_file=file, local_file=own_file),
        "inspection": asked,
        "config": config.to_dict(),
        "items": {"of_the_model": items.size - 1, "foreign": len(items.foreign), "order_assumed": items.assumed},
        "clean_models": clean,
    }
    return _finish(platform, given, (evidence, said_by), clean, asked, record)


def _check_new(output: str | None) -> None:
    if output is not None and Path(output).exists():
        raise DataError(f"output {output} exists already: expected a new folder")


def _clean_scores(
    platform: Platform, given: GivenModel, said_by: Mapping[str, Detection], asked: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """Scores of clean models, once it is known that the detector that decides reads the given one; then, those."""
    for able in (lambda: said_by, lambda: clean_maxima(platform, given, asked["clean_models"])):
        found: Mapping[str, Any] = able()
        if asked["detector"] not in found:
            raise DataError(
                f"detector '{asked['detector']}' cannot read {file} or a model beside it: expected one of "
                f"{', '.join(found)}"
            )
    left_out = [name for name in DETECTORS if name not in found]
    if left_out:
        LOG.warning(f"detectors that cannot read {file} or a model beside it are left out: {', '.join(left_out)}")
    return dict(found)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _tell(platform: Platform, file: Path, items: Any) -> None:
    """Warn of what is assumed of items, and of those that are not looked at."""
    if items.assumed:
        LOG.warning(
            f"{file} does not say which items its rows are: the order of dataset '{platform.config['dataset']}' is "
            "assumed; a wrong one makes any verdict void (--items=<file>)"
        )
    dataset = platform.dataset
    lacking = dataset.tokens(dataset.iid_field, np.flatnonzero(items.rows[1:] == 0) + 1)
    if lacking or items.foreign:
        LOG.warning(
            f"{counted(len(lacking), 'item')} of dataset '{platform.config['dataset']}' that the model lacks"
            f"{_such_as(lacking)}, and {counted(len(items.foreign), 'item')} of the model that the dataset lacks"
            f"{_such_as(items.foreign)}, are left out"
        )


def _such_as(tokens: Sequence[str]) -> str:
    return f" ({', '.join(map(shown, tokens[:3]))}{', ...' if len(tokens) > 3 else ''})" if tokens else ""


def _origin(**files: ModelFile | None) -> dict[str, Any]:
    """What looked at which files; ``None`` where there is none."""
    named = {key: file and {"name": file.path.name, "sha256": file.sha256} for key, file in files.items()}
    return {"version": __version__, "evaluator": EVALUATOR_VERSION, **named}


def _finish(
    platform: Platform,
    given: GivenModel,
    judged: Judged,
    clean: Mapping[str, Any],
    asked: Mapping[str, Any],
    record: Mapping[str, Any],
) -> Inspection:
    """Judge the model and write what there is to say."""
    evidence, said_by = judged
    found = {name: _among(of, given) for name, of in said_by.items() if name in clean}
    p_of = {name: p_values(of.scores, clean[name]) for name, of in found.items()}
    first, rate = asked["detector"], _rate(asked)
    flagged = np.isfinite(found[first].scores) & is_flagged(p_of[first], rate)
    tokens = platform.dataset.tokens(platform.dataset.iid_field, np.arange(platform.dataset.item_num))
    header, rows = suspects(tokens, evidence, cutoffs(given), found, flagged, first, p_of)
    named = [str(row[0]) for row in rows if row[1]]
    verdict = _verdict(named, len(rows), first, p_of[first][np.isfinite(found[first].scores)], rate)
    known, config = given.known.cpu().numpy(), platform.config.final_config_dict
    caught, tried = noticed(evidence, platform.had, known, clean[first], first, rate, config)
    if not named and 2 * caught < tried:
        LOG.warning(
            f"of {tried} items, each shown to everybody in turn, {caught} would be flagged ({first}): on these "
            f"{counted(evidence.users, 'user')}, that none is flagged says little"
        )
    said = {
        **record,
        "shown_to_everybody": {"flagged": caught, "tried": tried},
        "users": evidence.users,
        "false_alarms": float(rate),
        "flagged": named,
        "verdict": verdict,
    }

    def write(folder: Path) -> None:
        write_csv(folder / FLAGGED, header, rows)
        write_json(folder / "inspection.json", said)

    folder = _folder(platform, asked["output"], record["model_file"]["name"])
    write_folder(folder, write)
    return Inspection(header, rows, named, verdict, said, folder)


def _among(found: Detection, given: GivenModel) -> Detection:
    """What a detector says of the items the model has: the others cannot be recommended by it."""
    known = given.known.cpu().numpy()
    return Detection(np.where(known, found.scores, -np.inf), found.flagged & known)


def _rate(asked: Mapping[str, Any]) -> Fraction:
    """The largest share within the allowed one that so many clean models can tell, or the smallest they can."""
    models, allowed = asked["clean_models"], Fraction(str(asked["false_alarms"]))
    steps = allowed * (models + 1) // 1
    if not steps:
        needed = -(-1 // allowed) - 1
        LOG.warning(
            f"{models} clean models cannot tell {float(allowed):g} false alarms: expected at least {needed}; "
            f"1 in {models + 1} is claimed"
        )
    return Fraction(max(steps, 1), models + 1)


def _verdict(flagged: Sequence[str], items: int, detector: str, p: Any, rate: Fraction) -> str:
    alarms = f"of clean models, {rate.numerator} in {rate.denominator} would be flagged"
    if not flagged:
        return f"none of {items} items is flagged ({detector}, smallest p {p.min():.2g}); {alarms}"
    verb = "is" if len(flagged) == 1 else "are"
    more = f" and {len(flagged) - _NAMED} more" if len(flagged) > _NAMED else ""
    return (
        f"{len(flagged)} of {items} items {verb} flagged ({detector}, p <= {float(rate):.2g} each): "
        f"{', '.join(map(printable, flagged[:_NAMED]))}{more}; {alarms}"
    )


_NAMED = 10
"""Items a sentence names."""


def _folder(platform: Platform, output: str | None, name: str) -> Path:
    made = f"inspect-{Path(name).stem}-{get_local_time()}-{secrets.token_hex(3)}"
    return Path(platform.config["checkpoint_dir"]) / made if output is None else Path(output)
