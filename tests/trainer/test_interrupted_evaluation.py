"""An evaluation that is stopped leaves nothing to the next one."""

from __future__ import annotations

import pytest

from recbole_attack.experiment import prepare_training


def test_the_next_evaluation_counts_its_own_users_alone(config, monkeypatch):
    settings = config(epochs=1, eval_batch_size=7)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    whole = trainer.evaluate(experiment.test_data, load_best_model=False)
    collect, batches = trainer.eval_collector.eval_batch_collect, []

    def stopped(*batch):
        batches.append(batch)
        if len(batches) == 4:
            raise KeyboardInterrupt
        collect(*batch)

    monkeypatch.setattr(trainer.eval_collector, "eval_batch_collect", stopped)
    with pytest.raises(KeyboardInterrupt):
        trainer.evaluate(experiment.test_data, load_best_model=False)
    monkeypatch.undo()
    assert trainer.evaluate(experiment.test_data, load_best_model=False) == whole
