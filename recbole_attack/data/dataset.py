"""RecBole's sequential dataset read as it is written, without augmentation and in exact time order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils.enum_type import FeatureSource, FeatureType

from recbole_attack.data.atomic_file import AtomicFile
from recbole_attack.data.filters import answered_elsewhere, check_row_filters, columns_to_load
from recbole_attack.data.key_fields import check_agreement, check_times, check_types, rows_with_ids
from recbole_attack.data.names import RESERVED
from recbole_attack.data.sequences import UserSequences, from_pairs
from recbole_attack.data.split import EvaluationRows, Split, leave_one_out
from recbole_attack.data.synthetic import ensure_synthetic, synthetic_size
from recbole_attack.utils.errors import DataError, did_you_mean

HISTORY_LENGTH = "history_length"
"""Column of evaluation rows: how many interactions stand before the one that is asked for."""

_FILTERS = (
    "val_interval",
    "filter_inter_by_user_or_item",
    "user_inter_num_interval",
    "item_inter_num_interval",
)


def located(config: Any) -> Path:
    """The folder of the configured dataset, ``<name>/<name>.inter`` and so on; ``synthetic`` is generated first.

    Raises:
        DataError: It is not there.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if name == "synthetic":
        if (folder / f"{name}.inter").exists():
            raise DataError(
                f"dataset 'synthetic' is made as synthetic_size says, and {folder} would not be read: "
                "expected it under another name"
            )
        name = ensure_synthetic(synthetic_size(config["synthetic_size"]), folder.parent)
        folder = folder.with_name(name)
    inter = folder / f"{name}.inter"
    if not inter.is_file():
        found = sorted(p.name for p in folder.parent.glob("*") if (p / f"{p.name}.inter").is_file())
        raise DataError(
            f"dataset '{name}' not found: expected {inter}; "
            f"found in {folder.parent}: {', '.join(found) or 'no dataset'}{did_you_mean(name, [*found, *RESERVED])}"
        )
    return folder


class RaggedSequentialDataset(SequentialDataset):
    """A :class:`SequentialDataset` that keeps one ragged array of item sequences.

    RecBole casts time to float32 before it sorts, which reorders interactions less than a minute apart, and then
    copies every prefix of every sequence into a row of its own. Here rows are sorted by exact time (equal times keep
    file order) and prefixes are never materialised. Filtering and id mapping are RecBole's; files are read by
    :class:`~recbole_attack.data.atomic_file.AtomicFile`. Users are those with interactions, whoever else the ``.user``
    file lists; items are those of all loaded files, for whatever the ``.item`` file lists can be recommended. The
    dataset ``synthetic`` is generated below ``data_path`` first, unless one of its size and seed is there.

    Attributes:
        split: The :class:`~recbole_attack.data.split.Split` once :meth:`build` ran.
        user_fields: Loaded user fields of one token or number by name: ``[n_users]`` tokens, ``None`` where missing, or
            floats as the file has them, NaN where missing.
    """

    dataset_name: str
    dataset_path: str
    split: Split
    user_fields: dict[str, Any]
    inter_feat: Any
    user_feat: Any
    _time_ranks: pd.Series
    _found: dict[str, FeatureType]

    def _get_preset(self) -> None:
        super()._get_preset()
        self._found = {}
        folder = located(self.config)
        self.dataset_name, self.dataset_path = folder.name, str(folder)

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        loaded, left_out = self._get_load_and_unload_col(source)
        separators, encoding = (self.config["field_separator"], self.config["seq_separator"]), self.config["encoding"]
        file, keys = AtomicFile(Path(filepath), *separators, encoding or "utf-8"), self._keys(source)
        filtered = self.config["val_interval"] or {}
        self._found.update(file.fields if filtered else {})
        if loaded is not None and (loaded or filtered):
            loaded = columns_to_load(loaded, answered_elsewhere(self.config), filtered, set(keys), file)
        if loaded == set():
            return None
        check_types(file, keys)
        wanted = ((set(file.fields) if loaded is None else loaded) - (left_out or set())) | set(keys)
        kinds = {field: kind for field, kind in file.fields.items() if field in wanted}
        self._refuse_shared(file, [field for field in kinds if field not in keys])
        if source != FeatureSource.INTERACTION:
            self._refuse_made(file, kinds)
        ids = [field for field, kind in keys.items() if kind == FeatureType.TOKEN]
        texts = rows_with_ids(file, file.read(list(kinds)), ids)
        feat = pd.DataFrame({field: file.parse(texts[field], kind) for field, kind in kinds.items()})
        if source == FeatureSource.INTERACTION:
            check_times(file, texts[self.time_field])
            self._time_ranks = file.ranks(texts[self.time_field])
        elif keys:
            numbers = {field: feat[field] for field, kind in kinds.items() if kind == FeatureType.FLOAT}
            check_agreement(file, texts.assign(**numbers), *keys)
        for field, kind in kinds.items():
            feat[field] = self._set_property(feat[field], kind, source)
        return feat

    def _keys(self, source: Any) -> dict[str, FeatureType]:
        """Types of the fields a file cannot do without."""
        user, item = {self.uid_field: FeatureType.TOKEN}, {self.iid_field: FeatureType.TOKEN}
        inter = {**user, **item, self.time_field: FeatureType.FLOAT}
        keys = {FeatureSource.INTERACTION: inter, FeatureSource.USER: user, FeatureSource.ITEM: item}
        return keys.get(source, {})

    def _refuse_shared(self, file: AtomicFile, fields: Sequence[str]) -> None:
        """RecBole knows a field by its name alone: of two files' it would take one for the other."""
        shared = [field for field in fields if field in self.field2source]
        if shared:
            raise DataError(
                f"{file.path}: expected fields that no other loaded file has, found '{shared[0]}'; "
                "rename it, or leave it out of load_col"
            )

    def _refuse_made(self, file: AtomicFile, fields: Iterable[str]) -> None:
        """RecBole joins what it knows of users and items to every row, by name, and would replace what the row has."""
        given = (self.config["ITEM_LIST_LENGTH_FIELD"], f"{self.iid_field}{self.config['LIST_SUFFIX']}")
        made = (*given, f"{self.config['NEG_PREFIX']}{self.iid_field}", HISTORY_LENGTH)
        taken = [field for field in fields if field in made]
        if taken:
            raise DataError(
                f"{file.path}: expected fields with other names than columns of rows ({', '.join(map(str, made))}), "
                f"found '{taken[0]}'; rename it, or leave it out of load_col"
            )

    def _set_property(self, values: pd.Series, kind: FeatureType, source: Any) -> pd.Series:
        """Tell RecBole of a field; returns its values, sequences no longer than ``seq_len`` says."""
        field, length = str(values.name), 1
        if kind in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ):
            limit = (self.config["seq_len"] or {}).get(field)
            values = values.map(lambda sequence: sequence[:limit])
            length = int(values.map(len).max())
        self.set_field_property(field, kind, source, length)
        if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
            self.field2bucketnum[field] = 2
        return values

    def _remove_duplication(self) -> None:
        # RecBole sorts by time, and not in a stable way: with no two times alike there is but one order.
        times = self.inter_feat[self.time_field]
        self.inter_feat[self.time_field] = self._time_ranks
        super()._remove_duplication()
        self.inter_feat[self.time_field] = times

    def _reset_index(self) -> None:
        if self.user_feat is not None:
            active = self.user_feat[self.uid_field].isin(self.inter_feat[self.uid_field])
            self.user_feat = self.user_feat[active].copy()
        for name in self.feat_name_list:
            if getattr(self, name).empty:
                filters = ", ".join(f"{key}={self.config[key]!r}" for key in _FILTERS)
                raise DataError(
                    f"dataset '{self.dataset_name}': expected filters that leave something of each loaded file, "
                    f"found that they leave nothing of .{name.removesuffix('_feat')}: {filters}"
                )
        self._time_ranks = self._time_ranks[self.inter_feat.index]
        super()._reset_index()

    def _fill_nan(self) -> None:
        # RecBole replaces a missing number by the mean and may rescale all: then nobody can tell any more.
        self.user_fields = {}
        for field in () if self.user_feat is None else self.user_feat:
            values = self.user_feat[field]
            if self.field2type[field] == FeatureType.FLOAT:
                self.user_fields[field] = values.to_numpy(dtype=np.float64, copy=True)
            elif self.field2type[field] == FeatureType.TOKEN and field != self.uid_field:
                tokens = self.field2id_token[field].astype(object)
                tokens[0] = None
                self.user_fields[field] = tokens[values.fillna(0).astype(np.int64)]
        super()._fill_nan()

    def _change_feat_format(self) -> None:
        time = self._time_ranks.to_numpy() if self.config["exact_time_order"] else self._rounded_times()
        users = self.inter_feat[self.uid_field].to_numpy()
        self.inter_feat = self.inter_feat[[self.uid_field, self.iid_field]].iloc[np.lexsort((time, users))]
        del self._time_ranks
        super(SequentialDataset, self)._change_feat_format()
        self.inter_feat = Interaction({k: v.to(torch.int32) for k, v in self.inter_feat.interaction.items()})

    def _rounded_times(self) -> Any:
        times = self.inter_feat.get(self.time_field)
        if times is None or times.dtype == object:
            raise DataError(
                f"exact_time_order=False needs '{self.time_field}' as a number for each interaction: "
                f"found it {'dropped by threshold' if times is None else 'among numerical_features'}"
            )
        return times.to_numpy().astype(np.float32)

    def _filter_by_field_value(self) -> None:
        check_row_filters(self.config["val_interval"] or {}, self.field2type, self._found)
        super()._filter_by_field_value()

    def sequences(self) -> UserSequences:
        """All interactions in order; the first step of :meth:`build`, to be taken once."""
        self._change_feat_format()
        users, items = (self.inter_feat[field].numpy() for field in (self.uid_field, self.iid_field))
        return from_pairs(users, items, self.user_num, self.item_num)

    def build(self, sequences: UserSequences | None = None) -> list[RaggedSequentialDataset]:
        """Split into training, validation and test data.

        Args:
            sequences: What is left of :meth:`sequences`; all of them by default.

        Returns:
            Three copies of this dataset. The training copy's ``inter_feat`` holds the training interactions; the
            other two hold one row per evaluated user: user, item to predict, the items before it (the last
            ``MAX_ITEM_LIST_LENGTH``, padded on the right), their number, and the number of all items before it
            (:data:`HISTORY_LENGTH`).
        """
        sequences = self.sequences() if sequences is None else sequences
        self.split = leave_one_out(sequences, self.config["eval_args"]["split"]["LS"])
        evaluation = [self.copy(self._rows(rows)) for rows in (self.split.valid, self.split.test)]
        return [self.copy(self.training_rows(self.split.train)), *evaluation]

    def training_rows(self, sequences: UserSequences) -> Interaction:
        """The rows of a training copy, from the interactions in it."""
        users = torch.from_numpy(sequences.owner_ids.astype(np.int32))
        return Interaction({self.uid_field: users, self.iid_field: torch.from_numpy(sequences.items)})

    def _rows(self, rows: EvaluationRows) -> Interaction:
        return self.evaluation_rows(rows, self.max_item_list_len)

    def evaluation_rows(self, rows: EvaluationRows, longest: int) -> Interaction:
        """Evaluation rows as RecBole's models read them, shortest history first so that batches stay tight.

        Args:
            rows: Of the split.
            longest: Items of a history; of more the last count.
        """
        full = self.split.full
        order = np.argsort(rows.history, kind="stable")
        users, history = rows.users[order], rows.history[order]
        item_seq, lengths = self.split.before(rows).last(users, longest)
        values: dict[str, Any] = {
            self.uid_field: users,
            self.iid_field: full.items[full.offsets[users] + history].astype(np.int64),
            self.iid_field + self.config["LIST_SUFFIX"]: item_seq,
            self.item_list_length_field: lengths,
            HISTORY_LENGTH: history,
        }
        return Interaction({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in values.items()})

    def tokens(self, field: str, ids: Any) -> list[str]:
        """The tokens behind internal ids, as plain strings."""
        return [str(token) for token in np.atleast_1d(self.id2token(field, ids))]
