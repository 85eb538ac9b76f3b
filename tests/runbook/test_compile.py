import pytest
from pydantic import ValidationError

from sample import sample_document, sample_migration
from tidegate.errors import InvalidMigration
from tidegate.runbook.compile import compile_runbook
from tidegate.runbook.migration import Migration


def names(runbook) -> list[str]:
    return [stage.name for stage in runbook.stages]


def test_incremental_shifts_part_after_part_with_the_switch_among_them():
    assert names(compile_runbook(sample_migration())) == [
        "preflight",
        "replicate",
        "verify",
        "endpoints",
        "shift /catalog",
        "shift beta",
        "shift SE",
        "shift 5%",
        "shift 25%",
        "shift 50%",
        "switch",
        "prove",
        "shift 100%",
        "watch",
        "finish",
    ]


def test_a_window_moves_everybody_in_the_switch():
    runbook = compile_runbook(sample_migration(strategy="window", shift=[]))
    assert [name for name in names(runbook) if name.startswith("shift")] == []
    assert runbook.stage("switch").steps[0].fields["moves_traffic"] is True


BACKUP = {"place": "azure://backups/shop", "key": "env:K", "folder": "/var/tmp/backups"}


def by_backup(**changes):
    document = sample_document(strategy="window", shift=[])
    document["stores"]["orders"] |= {"method": "restore", "backup": BACKUP} | changes
    return document


def test_what_is_not_replicated_goes_over_by_backup_while_the_edge_tells_of_the_maintenance():
    runbook = compile_runbook(Migration.model_validate(by_backup()))
    found = names(runbook)
    assert found[found.index("endpoints") + 1 : found.index("switch")] == [
        *("maintenance", "close", "backup", "transfer", "restore", "verify restored")
    ]
    assert [step.name for step in runbook.stage("replicate").steps] == ["replicate-receipts"]
    assert {stage.on_failure for stage in runbook.stages if stage.phase == "during"} == {"roll back"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"backup": None}, "method: restore needs a backup"),
        ({"method": "replicate"}, "backup is for method: restore"),
    ],
)
def test_a_backup_and_its_method_belong_together(changes, why):
    with pytest.raises(ValidationError, match=why):
        Migration.model_validate(by_backup(**changes))


def test_a_part_of_the_users_can_not_move_while_the_database_is_closed():
    with pytest.raises(ValidationError, match=r"stores\.orders: method: restore closes the database"):
        Migration.model_validate(by_backup() | {"strategy": "incremental", "shift": sample_document()["shift"]})


def test_every_stage_with_users_on_azure_is_guarded_and_rolls_back():
    runbook = compile_runbook(sample_migration())
    for stage in runbook.stages:
        if stage.name.startswith("shift") or stage.name in ("switch", "prove", "watch"):
            assert stage.guarded
            assert stage.on_failure == "roll back"


def test_the_end_of_the_mirror_needs_an_approval():
    assert compile_runbook(sample_migration()).stage("finish").approval


def test_manual_steps_and_commands_stand_where_they_are_put():
    steps = [
        {"kind": "manual", "name": "tell-support", "stage": "switch", "owner": "ada", "instructions": "tell support"},
        {
            "kind": "command",
            "name": "warm",
            "stage": "endpoints",
            "place": "after",
            "argv": ["true"],
            "check": ["true"],
        },
    ]
    runbook = compile_runbook(sample_migration(steps=steps))
    found = names(runbook)
    assert found[found.index("switch") - 1] == "tell-support"
    assert found[found.index("endpoints") + 1] == "warm"
    assert runbook.stage("tell-support").phase == "during"


def test_a_step_beside_a_stage_that_is_not_there_is_refused_with_the_stages_there_are():
    steps = [{"kind": "manual", "name": "x", "stage": "shift 7%", "owner": "ada", "instructions": "wait"}]
    with pytest.raises(InvalidMigration, match=r"(?s)steps\.x: there is no stage 'shift 7%'.*shift 5%"):
        compile_runbook(sample_migration(steps=steps))


@pytest.mark.parametrize("name", ["verify-orders", "finish", "prove", "forced-rollback"])
def test_a_step_may_not_take_a_name_by_which_something_else_is_approved(name):
    step = {"kind": "manual", "name": name, "stage": "verify", "owner": "ada", "instructions": "look"}
    with pytest.raises(InvalidMigration, match=f"the name {name} is taken"):
        compile_runbook(sample_migration(steps=[step]))


@pytest.mark.parametrize(
    ("stage", "place", "guarded"),
    [("verify", "after", False), ("switch", "before", True), ("prove", "after", True), ("finish", "before", True)],
)
def test_users_on_azure_are_watched_over_while_a_person_has_a_step_to_do(stage, place, guarded):
    step = {"kind": "manual", "name": "look", "stage": stage, "place": place, "owner": "ada", "instructions": "look"}
    assert compile_runbook(sample_migration(steps=[step])).stage("look").guarded is guarded


@pytest.mark.parametrize(
    ("shift", "why"),
    [
        ([{"percent": 100}], "`switch` has to stand in it"),
        (["switch", {"percent": 50}], "the last stage is percent: 100"),
        (["switch", {"percent": 50}, {"percent": 25}, {"percent": 100}], "percentages rise"),
        ([{"country": "SE"}, {"country": "SE"}, "switch", {"percent": 100}], "stands in it twice"),
    ],
)
def test_a_shift_that_makes_no_sense_is_refused(shift, why):
    with pytest.raises(ValueError, match=why):
        sample_migration(shift=shift)
