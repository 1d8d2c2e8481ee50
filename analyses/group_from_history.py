"""How well a target group can be told from histories alone: what an attack on groups can do without prompts.

    python analyses/group_from_history.py [--dataset=ml-1m] [--group="gender=M"] [--last 9] [--data_path=<folder>]

Logistic regression on which items a user had (scikit-learn's, C = 0.03), five folds over all users: once on whole
histories, once on their last interactions alone, which is what a platform's users have in the tables. AUC: mean, lowest
and highest of the folds.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from recbole_attack import AttackConfig
from recbole_attack.data import UserSequences, user_group
from recbole_attack.experiment import create_dataset


def histories(sequences: UserSequences) -> csr_matrix:
    """``[n_users, n_items]``, 1 where a user had an item."""
    sets = sequences.as_sets()  # SciPy sorts in place: never the sequences themselves
    return csr_matrix((np.ones(len(sets.items)), sets.items, sets.offsets), shape=(sets.n_users, sets.n_items))


def folds(items: csr_matrix, inside: np.ndarray) -> list[float]:
    """AUC of each fold's model on the users it has not seen."""
    found = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(items, inside):
        model = LogisticRegression(C=0.03, max_iter=1000).fit(items[train], inside[train])
        found.append(roc_auc_score(inside[test], model.decision_function(items[test])))
    return found


def main() -> None:
    """Print the AUC of whole and of short histories."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--group", default="gender=M")
    parser.add_argument("--last", type=int, default=9, help="interactions of a short history")
    parser.add_argument("--data_path", default="dataset/", help="folder that holds the datasets' folders")
    given = parser.parse_args()
    place = {"dataset": given.dataset, "data_path": given.data_path}
    dataset = create_dataset(AttackConfig(config_dict={**place, "scenario": "pretrain", "target_group": given.group}))
    sequences = dataset.sequences()
    users = np.flatnonzero(sequences.lengths)
    inside = user_group(given.group, dataset.user_fields, sequences.n_users)[users]
    last = sequences.tail(np.minimum(sequences.lengths, given.last))
    for name, known in (("all interactions", sequences), (f"the last {given.last}", last)):
        aucs = folds(histories(known)[users], inside)
        print(f"{given.dataset}, {given.group}, {name}: AUC {np.mean(aucs):.3f} ({min(aucs):.3f} to {max(aucs):.3f})")


if __name__ == "__main__":
    main()
