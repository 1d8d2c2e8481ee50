"""RecBole's sequential dataset without augmentation and in exact time order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils.enum_type import FeatureType

from recbole_attack.data.filters import answered_elsewhere, check_row_filters, columns_to_load, fields_of
from recbole_attack.data.sequences import UserSequences, from_pairs
from recbole_attack.data.split import EvaluationRows, Split, leave_one_out
from recbole_attack.data.synthetic import ensure_synthetic, synthetic_size
from recbole_attack.errors import DataError, did_you_mean


class RaggedSequentialDataset(SequentialDataset):
    """A :class:`SequentialDataset` that keeps one ragged array of item sequences.

    RecBole casts time to float32 before it sorts, which reorders interactions less than a minute apart, and then
    copies every prefix of every sequence into a row of its own. Here rows are sorted by exact time (equal times keep
    file order) and prefixes are never materialised. Loading, filtering and id mapping are RecBole's. The dataset
    ``synthetic`` is generated below ``data_path`` first, unless one of its size and seed is there.

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

    def _get_preset(self) -> None:
        super()._get_preset()
        if self.dataset_name == "synthetic":
            folder = Path(self.dataset_path).parent
            self.dataset_name = ensure_synthetic(synthetic_size(self.config["synthetic_size"]), folder)
            self.dataset_path = str(folder / self.dataset_name)

    def _load_data(self, token: str, dataset_path: str) -> None:
        inter = Path(dataset_path) / f"{token}.inter"
        if not inter.is_file():
            folder = Path(dataset_path).parent
            found = sorted(p.name for p in folder.glob("*") if (p / f"{p.name}.inter").is_file())
            raise DataError(
                f"dataset '{token}' not found: expected {inter}; "
                f"found in {folder}: {', '.join(found) or 'no dataset'}{did_you_mean(token, found)}"
            )
        self._check_header(inter)
        super()._load_data(token, dataset_path)

    def _load_feat(self, filepath: str, source: Any) -> Any:
        try:
            return super()._load_feat(filepath, source)
        except DataError:
            raise
        except (ValueError, LookupError) as error:
            raise DataError(
                f"{filepath} cannot be read: expected a header of <field>:<type> and a value for each field in every "
                f"line, found {' '.join(str(error).split())}"
            ) from error

    def _check_header(self, inter: Path) -> None:
        with inter.open(encoding=self.config["encoding"], errors="replace") as file:
            fields = [
                column.split(":")[0] for column in file.readline().rstrip("\n").split(self.config["field_separator"])
            ]
        for field in (self.uid_field, self.iid_field, self.time_field):
            if field not in fields:
                raise DataError(
                    f"{inter} has no field '{field}': found {', '.join(fields)}{did_you_mean(str(field), fields)}"
                )

    def _fill_nan(self) -> None:
        timeless = int(self.inter_feat[self.time_field].isna().sum())
        if timeless:
            raise DataError(
                f"dataset '{self.dataset_name}' needs every interaction's time: {timeless} have no '{self.time_field}'"
            )
        # RecBole goes on to replace a missing number by the mean and may rescale all: then nobody can tell any more.
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
        time = self.inter_feat[self.time_field].to_numpy()
        if not self.config["exact_time_order"]:
            time = time.astype(np.float32)
        users = self.inter_feat[self.uid_field].to_numpy()
        self.inter_feat = self.inter_feat[[self.uid_field, self.iid_field]].iloc[np.lexsort((time, users))]
        super(SequentialDataset, self)._change_feat_format()
        self.inter_feat = Interaction({k: v.to(torch.int32) for k, v in self.inter_feat.interaction.items()})

    def _get_load_and_unload_col(self, source: Any) -> tuple[set[str] | None, set[str] | None]:
        asked, left_out = super()._get_load_and_unload_col(source)
        if asked is None:
            return None, left_out
        suffix = getattr(source, "value", source)
        file = Path(self.dataset_path) / f"{self.dataset_name}.{suffix}"
        fields = fields_of(file, self.config["field_separator"], self.config["encoding"] or "utf-8")
        keys = {"user": {self.uid_field}, "item": {self.iid_field}}.get(suffix, set())
        answered, filtered = answered_elsewhere(self.config), self.config["val_interval"] or ()
        return columns_to_load(asked, answered, filtered, keys, str(file), fields), left_out

    def _filter_by_field_value(self) -> None:
        check_row_filters(self.config["val_interval"] or {}, self.field2type)
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
            (``history_length``).
        """
        sequences = self.sequences() if sequences is None else sequences
        self.split = leave_one_out(sequences, self.config["eval_args"]["split"]["LS"])
        train = self.split.train
        users = train.owner_ids.astype(np.int32)
        train_feat = Interaction(
            {self.uid_field: torch.from_numpy(users), self.iid_field: torch.from_numpy(train.items)}
        )
        evaluation = [self.copy(self._rows(rows)) for rows in (self.split.valid, self.split.test)]
        return [self.copy(train_feat), *evaluation]

    def _rows(self, rows: EvaluationRows) -> Interaction:
        """Evaluation rows as RecBole's models read them, shortest history first so that batches stay tight."""
        full = self.split.full
        order = np.argsort(rows.history, kind="stable")
        users, history = rows.users[order], rows.history[order]
        drop = np.zeros(full.n_users, dtype=np.int64)
        drop[users] = full.lengths[users] - history
        item_seq, lengths = full.head(drop).last(users, self.max_item_list_len)
        values: dict[str, Any] = {
            self.uid_field: users,
            self.iid_field: full.items[full.offsets[users] + history].astype(np.int64),
            self.iid_field + self.config["LIST_SUFFIX"]: item_seq,
            self.item_list_length_field: lengths,
            "history_length": history,
        }
        return Interaction({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in values.items()})

    def tokens(self, field: str, ids: Any) -> list[str]:
        """The tokens behind internal ids, as plain strings."""
        return [str(token) for token in np.atleast_1d(self.id2token(field, ids))]
