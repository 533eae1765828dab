"""How the rooms of the house depend on each other, read from the imports of every file."""

import ast
import json
import re
import runpy
from graphlib import TopologicalSorter
from pathlib import Path

import ssl_lab

PACKAGE = Path(ssl_lab.__file__).parent
FILES = {".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): file for name, file in FILES.items()}


def imported(tree):
    """The modules that are imported somewhere in it, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (
                name if (name := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            )
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


GRAPH = {
    name: {other for other in imported(ast.parse(file.read_text())) if other in MODULES} - {name}
    for name, file in MODULES.items()
}


def room(module):
    return module.split(".")[1] if "." in module else module


def begun_with(name):
    """Every module that is imported before `name` does anything, other packages' too."""
    reached, new = set(), [name]
    while new:
        reached.add(module := new.pop())
        body = ast.parse(MODULES[module].read_text()).body if module in MODULES else []
        new += {*imported(ast.Module([one for one in body if isinstance(one, ast.Import | ast.ImportFrom)]))} - reached
    return reached


def test_a_training_begins_without_what_only_scores_and_pages_need():
    begun = begun_with("ssl_lab.tasks.pretrain") | begun_with("ssl_lab.callbacks.online")
    assert {"ssl_lab.evaluation.cluster", "lightning.pytorch"} <= begun
    assert not {module.split(".")[0] for module in begun} & {"sklearn", "pandas", "datasets", "wandb", "plotly"}


def test_there_is_no_circle_of_imports():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the circle


def test_there_is_no_circle_of_rooms():
    rooms = {room(name): set() for name in GRAPH}
    for name, others in GRAPH.items():
        rooms[room(name)] |= {room(other) for other in others} - {room(name)}
    TopologicalSorter(rooms).prepare()


def test_the_drawing_in_the_readme_is_true():
    text = (PACKAGE.parent / "README.md").read_text()
    (drawn,) = re.findall(r"^data → [^`]*", text, re.MULTILINE)
    place = {name: i for i, level in enumerate(drawn.split("→")) for name in re.findall(r"\w+", level)}
    rooms = {path.stem for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))} | {"model"}
    assert place.keys() == rooms
    for name, others in GRAPH.items():
        for other in {room(other) for other in others} & rooms - {room(name)} if room(name) in rooms else ():
            assert place[other] < place[room(name)], f"{name} imports {other}"


def test_nothing_below_the_tasks_imports_one_and_nothing_below_the_command_line_imports_that():
    reaching = {
        (name, other)
        for name, others in GRAPH.items()
        for other in others
        if room(other) in ("tasks", "cli") and room(other) != room(name)
    }
    faces = {("ssl_lab.__main__", "ssl_lab.cli"), ("ssl_lab", "ssl_lab.cli.python")}
    assert reaching == faces  # a task is imported by its name


def test_no_task_imports_another():
    assert not {name for name, others in GRAPH.items() if room(name) == "tasks" for o in others if room(o) == "tasks"}


def test_the_table_of_groups_in_the_readme_is_that_of_conf():
    made = runpy.run_path(str(PACKAGE.parent / "scripts" / "groups.py"))
    (written,) = made["MARKED"].findall((PACKAGE.parent / "README.md").read_text())
    assert written == made["table"]()


def test_the_links_of_the_readme_lead_somewhere():
    text = (PACKAGE.parent / "README.md").read_text()
    links = re.findall(r"\]\((?!http)([^)]+)\)", text)
    assert links
    for file, _, heading in (link.partition("#") for link in links):
        titles = re.findall("^#+ (.*)", (PACKAGE.parent / file).read_text(), re.MULTILINE)
        assert not heading or heading in [title.lower().replace(" ", "-") for title in titles]


def test_the_table_of_claims_in_the_readme_is_that_of_what_was_measured():
    made = runpy.run_path(str(PACKAGE.parent / "scripts" / "bench" / "claims.py"))
    shown = json.loads((PACKAGE.parent / "scripts" / "bench" / "claims.json").read_text())
    rows = [made["row"](claim, made["measured"](claim, shown)) for claim in made["CLAIMS"]]
    assert "\n".join([*made["HEAD"], *rows]) in (PACKAGE.parent / "README.md").read_text()
