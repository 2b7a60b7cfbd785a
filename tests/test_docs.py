"""The documents say what the code does: links, examples, routes, fields, limits, rules, Conditions and settings.

A reference that drifts is worse than none, because a user acts on it. Each table of docs/reference.md is therefore
parsed and compared with the code, both ways: nothing missing, nothing that is no more.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shared.domain import conditions, limits, parse, plan, refusals, rules
from shared.domain.dns import DnsFault
from shared.domain.findings import CATALOGUE
from shared.domain.spec import ConnectionDocument, GatewayDocument
from shared.wire import algorithms

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
VALUES = {
    "spec.sku": sorted(rules.AZ_SKUS),
    "spec.ipsec.ikeEncryption": list(algorithms.IKE_ENCRYPTION),
    "spec.ipsec.ikeIntegrity": list(algorithms.IKE_INTEGRITY),
    "spec.ipsec.dhGroup": list(algorithms.DH_GROUP),
    "spec.ipsec.ipsecEncryption": list(algorithms.ESP_ENCRYPTION),
    "spec.ipsec.ipsecIntegrity": list(algorithms.ESP_INTEGRITY),
    "spec.ipsec.pfsGroup": list(algorithms.PFS_GROUP),
}
"""Fields that are text to spec.py and of which rules.py knows the values."""


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language, without the indentation of the list item they stand in."""
    found = []
    for indent, name, body in FENCE.findall(text_of(path)):
        if name == language:
            found.append("".join(line.removeprefix(indent) for line in body.splitlines(keepends=True)))
    return found


def table(page: str, heading: str) -> dict[str, list[str]]:
    """First column (without backticks) -> the other cells, of the first table under a heading."""
    part = text_of(ROOT / "docs" / page).split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[c.strip() for c in row.strip("|").split("|")] for row in rows[2:] if not re.match(r"^\|[ -]+\|", row)]
    keys = [c[0].strip("`") for c in cells]
    assert len(keys) == len(set(keys)), f"{page}, {heading}: a row stands there twice"
    return {key: c[1:] for key, c in zip(keys, cells, strict=True)}


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}


def test_there_is_something_to_check() -> None:
    assert {p.name for p in PAGES} >= {"README.md", "api.md", "reference.md", "lab.md", "architecture.md"}
    assert {p.stem for p in EXAMPLES} >= {"gateway", "home"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        leads_to = (page.parent / name).resolve() if name else page
        assert leads_to.exists(), f"{page.name}: {target} does not exist"
        if anchor:
            assert anchor in anchors(leads_to), f"{page.name}: {target} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_lines_fit_a_screen(page: Path) -> None:
    """Test vectors, which stand in indented code, cannot be broken."""
    lines = enumerate(text_of(page).splitlines(), 1)
    wide = [n for n, line in lines if len(line) > 160 and not line.startswith("    ")]
    assert not wide, f"{page.name}: lines {wide} are wider than 160 characters"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_json_blocks_are_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


def documents() -> list[Any]:
    texts = [(p.name, text_of(p)) for p in EXAMPLES]
    texts += [(p.name, b) for p in PAGES for b in blocks(p, "yaml") if "apiVersion" in b]
    return [pytest.param(text, id=f"{name}-{n}") for n, (name, text) in enumerate(texts)]


@pytest.mark.parametrize("text", documents())
def test_examples_pass_the_rules(text: str) -> None:
    example = parse.gateway(yaml.safe_load(text_of(ROOT / "docs" / "examples" / "gateway.yaml")))
    data = yaml.safe_load(text)
    if data["kind"] == "Gateway":
        assert rules.gateway_problems(parse.gateway(data).spec) == []
    else:
        document = parse.connection(data)
        assert document.spec.gateway == example.metadata.name
        assert rules.connection_problems(document.metadata.name, document.spec, example.spec, {}) == []


@pytest.fixture(scope="module")
def routes() -> set[str]:
    """`METHOD /api/route` of every HTTP trigger, with the prefix that host.json gives."""
    from tests.app import FUNCTIONS

    prefix = json.loads(text_of(ROOT / "host.json"))["extensions"]["http"]["routePrefix"]
    found = set()
    for function in FUNCTIONS.values():
        for binding in map(json.loads, function.get_raw_bindings()):
            if binding["type"] == "httpTrigger":
                found |= {f"{method} /{prefix}/{binding['route']}" for method in binding["methods"]}
    assert found
    return found


def test_api_lists_every_route_and_no_other(routes: set[str]) -> None:
    assert set(table("api.md", "Routes")) == routes


def test_curl_examples_meet_routes(routes: set[str]) -> None:
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines() if "$API/" in line]
    assert len(lines) > 5
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", r)) for r in routes]
    for line in lines:
        method = (re.search(r"-X (\w+)", line) or [None, "GET"])[1]
        path = line.split("$API/", 1)[1].split()[0].strip("\"'").partition("?")[0]
        assert any(p.fullmatch(f"{method} /api/{path}") for p in patterns), line


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for info in model.model_fields.values():
        here, inner = f"{path}{info.alias}", _inner(info.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{here}{'[]' if get_origin(info.annotation) is tuple else ''}.")
        else:
            yield here, info


def _inner(annotation: Any) -> Any:
    """What a list holds, or what an optional field may be."""
    args = [a for a in get_args(annotation) if a not in (type(None), Ellipsis)]
    if get_origin(annotation) in (tuple, types.UnionType, typing.Union):
        return _inner(args[0])
    return args[0] if get_origin(annotation) is typing.Annotated else annotation


_KINDS = {str: "text", int: "number", bool: "true or false", AwareDatetime: "time"}


def described(path: str, info: FieldInfo) -> list[str]:
    """type, default and bounds, as the cells of docs/reference.md have them."""
    inner = _inner(info.annotation)
    choice = get_origin(inner) is Literal
    kind = "choice" if choice else _KINDS[inner]
    if get_origin(info.annotation) is tuple:
        kind = f"list of {kind}"
    default = info.default
    if default is PydanticUndefined:
        shown = "required"
    elif default in (None, ()):
        shown = "none"
    else:
        shown = f"`{json.dumps(default)}`".replace('"', "")
    bound = {k: v for m in info.metadata for k, v in vars(_slots(m)).items() if v is not None}
    parts = []
    if choice or path in VALUES:
        parts.append(", ".join(f"`{v}`" for v in (get_args(inner) if choice else VALUES[path])))
    if "ge" in bound:
        parts.append(f"{bound['ge']} to {bound['le']}")
    unit = "entries" if get_origin(info.annotation) is tuple else "characters"
    if "min_length" in bound:
        parts.append(f"{bound['min_length']} to {bound['max_length']} {unit}")
    elif "max_length" in bound:
        parts.append(f"at most {bound['max_length']} {unit}")
    if "pattern" in bound:
        parts.append(f"`{bound['pattern']}`")
    return [kind, shown, ", ".join(parts)]


def _slots(metadata: Any) -> types.SimpleNamespace:
    names = ("ge", "le", "min_length", "max_length", "pattern")
    return types.SimpleNamespace(**{n: getattr(metadata, n, None) for n in names})


@pytest.mark.parametrize(("heading", "model"), [("Gateway", GatewayDocument), ("Connection", ConnectionDocument)])
def test_reference_has_every_field(heading: str, model: type[BaseModel]) -> None:
    wanted = {path: described(path, info) for path, info in fields(model)}
    assert {path: cells[:3] for path, cells in table("reference.md", heading).items()} == wanted
    assert all(cells[3] for cells in table("reference.md", heading).values()), "each field has a meaning"


def test_reference_has_every_limit() -> None:
    wanted = {}
    for name, value in vars(limits).items():
        if isinstance(value, limits.Limit):
            wanted[name] = [str(value.default), str(value.least), str(value.most), value.unit]
        elif name.isupper():
            wanted[name] = [str(value), "", "", ""]
    assert {name: cells[:4] for name, cells in table("reference.md", "Limits").items()} == wanted


def problems() -> Iterator[tuple[str, list[str]]]:
    """(rule, the constant pieces of its remedy) of every Problem that the source makes with a literal rule."""
    for folder in ("shared/domain", "shared/control", "functions"):
        for path in sorted((ROOT / folder).glob("*.py")):
            tree = ast.parse(text_of(path))
            named = {
                n.targets[0].id: n.value
                for n in ast.walk(tree)
                if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)
            }
            for call in ast.walk(tree):
                if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Problem"):
                    continue
                rule, remedy = call.args[2], call.args[4]
                if isinstance(rule, ast.Constant):
                    remedy = named[remedy.id] if isinstance(remedy, ast.Name) and remedy.id in named else remedy
                    yield str(rule.value), _constants(remedy)


def _constants(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return [str(v.value) for v in node.values if isinstance(v, ast.Constant)]
    if isinstance(node, ast.IfExp):
        return [*_constants(node.body), *_constants(node.orelse)]
    return []


def test_reference_has_every_rule_with_its_remedy() -> None:
    listed, made = table("reference.md", "Rules"), list(problems())
    assert set(listed) == {rule for rule, _ in made}
    for rule, pieces in made:
        for piece in (p.strip() for p in pieces):
            assert len(piece) < 4 or piece in listed[rule][-1], f"{rule}: the code's remedy says {piece!r}"


def test_reference_has_every_condition() -> None:
    link = conditions.Link(None, None, "", False, None, None, None, "", None, None)
    assert set(table("reference.md", "Conditions")) == {
        *(f"Gateway {kind}" for kind in conditions.gateway(None, plan.Plan(()), "", ())),
        *(f"Connection {kind}" for kind in conditions.connection(link, "")),
    }


def test_reference_names_every_reason() -> None:
    source = text_of(ROOT / "docs" / "reference.md").split("\n## Conditions\n")[1].split("\n## ")[0]
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(conditions))):
        if isinstance(node, ast.Tuple) and len(node.elts) == 3:
            status, reason = node.elts[:2]
            constant = isinstance(status, ast.Constant) and status.value in ("True", "False", "Unknown")
            if constant and isinstance(reason, ast.Constant):
                found.add(str(reason.value))
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:  # a remark of Recommended
            reason = node.elts[0]
            if isinstance(reason, ast.Constant) and re.fullmatch(r"([A-Z][a-z]+){2,}", str(reason.value)):
                found.add(str(reason.value))
    found |= {r.reason for r in refusals.REFUSALS.values() if r.reason} | {str(fault) for fault in DnsFault}
    assert found >= {"Ipv6Only", "PortForwardNeeded", "DoubleNat"}
    assert len(found) > 20
    assert not [reason for reason in sorted(found) if f"`{reason}`" not in source]


def test_troubleshooting_has_every_finding() -> None:
    """Severity, cause, remedy, time and what explains it, as the code has them; and no Finding that is no more."""
    parts = re.split(r"^### ([\w-]+)\n", text_of(ROOT / "docs" / "troubleshooting.md"), flags=re.MULTILINE)
    told = {
        code: " ".join(text.partition("\n## ")[0].split()) for code, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    assert list(told) == list(CATALOGUE)
    for code, kind in CATALOGUE.items():
        wanted = f"{kind.severity.capitalize()}. {kind.cause} - Do: {kind.remedy} "
        wanted += f"- Visible after {kind.sight.seconds} s: {kind.sight.reason}."
        if kind.explained_by:
            wanted += f" - Explained by: {', '.join(f'`{c}`' for c in kind.explained_by)}."
        assert told[code] == wanted


def test_settings_that_are_read_are_listed() -> None:
    """The Function app's own; those of the lab are not a user's."""
    source = text_of(ROOT / "shared/azure/settings.py") + text_of(ROOT / "shared/azure/credential.py")
    read = set(re.findall(r"\b(?:HOMELINK_[A-Z_]+|AZURE_CLIENT_ID)\b", source))
    read |= {f"AzureWebJobsStorage{end}" for end in ("", "__queueServiceUri", "__tableServiceUri")}
    assert set(table("reference.md", "App settings")) == read


def test_readme_names_both_commands() -> None:
    first_screen = "\n".join(text_of(ROOT / "README.md").splitlines()[:40])
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert {"demo", "test"} <= targets
    assert "make demo" in first_screen and "make test" in first_screen
    named = {t for p in PAGES for t in re.findall(r"(?:`|^)make ([a-z]+)", text_of(p), re.MULTILINE)}
    assert named <= targets, "a page names a make target that does not exist"
