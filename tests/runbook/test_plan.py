import json

import pytest

from sample import sample_migration
from tidegate.errors import InvalidMigration
from tidegate.runbook.compile import compile_runbook
from tidegate.runbook.plan import Plan, make_plan, parse_plan
from tidegate.runbook.step import Action


def plan(undo: str | None = "take it back") -> Plan:
    migration = sample_migration()
    runbook = compile_runbook(migration)
    names = [step.name for stage in runbook.stages for step in stage.steps]
    actions = {name: [Action(verb="change", target=name, detail="does it", undo="take it back")] for name in names}
    actions["finish-orders"] = [Action(verb="delete", target="mirror", detail="ends", undo=undo)]
    return make_plan(migration, runbook, actions, made_at=0)


def test_a_saved_plan_comes_back_as_it_was():
    assert parse_plan(plan().model_dump_json(), "plan.json") == plan()


def test_the_digest_does_not_depend_on_when_it_was_planned():
    again = make_plan(plan().migration, plan().runbook, plan().actions, made_at=99)
    assert again.digest == plan().digest


def test_a_plan_that_was_edited_is_refused():
    document = json.loads(plan().model_dump_json())
    document["actions"]["switch"][0]["detail"] = "does something else"
    with pytest.raises(InvalidMigration, match=r"plan\.json: the plan was changed"):
        parse_plan(json.dumps(document), "plan.json")


@pytest.mark.parametrize("text", ["", "{}", "[]", "\x00", '{"format": "tidegate-plan-9"}'])
def test_what_is_no_plan_is_refused_in_one_line_and_a_mend(text):
    with pytest.raises(InvalidMigration, match=r"plan\.json: this is no plan of this version"):
        parse_plan(text, "plan.json")


def test_the_point_of_no_return_is_the_first_action_that_nothing_takes_back():
    assert plan().point_of_no_return() is None
    assert plan(undo=None).point_of_no_return().name == "finish"
