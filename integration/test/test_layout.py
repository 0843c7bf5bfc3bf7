# SPDX-License-Identifier: MPL-2.0
"""The shape of the tree: which folder may include which, who sees a wrapped library, what every source and every
option must have. Nothing is built or run."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("proto", "store", "node", "broker", "cli", "integration")
TOP_LEVEL = {"proto", "store", "node", "broker", "cli", "integration", "ansible", "CMakeLists.txt", "CMakePresets.json",
             "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}

# What a module's own programs may include. cli explains lines by node's rules and shows nothing else of a node.
MAY_INCLUDE = {
    "proto": {"proto"},
    "store": {"store", "proto"},
    "node": {"node", "store", "proto"},
    "broker": {"broker", "store", "proto"},
    "cli": {"cli", "store", "proto", "node/rules.h"},
    "integration": {"integration", "broker", "node", "cli", "store", "proto"},
}

# Who may see a wrapped library's header; tests and fuzz targets besides are named where they make bad input with it.
WRAPPED = {
    r"lmdb\.h": {"store/lmdb_engine.h"},
    r"store/lmdb_engine\.h": {"store/lmdb.c", "store/lmdb_open.c"},
    r"proto/kban\.pb-c\.h": {"proto/pb.h"},
    r"proto/pb\.h": {"proto/pb.c", "proto/wire.c", "proto/report.c"},
    r"libmnl/.*": {"node/nft_wire.h"},
    r"libnftnl/.*": {"node/nft_layout.c", "node/nft_rules.c", "node/nft_wire.h"},
    r"node/nft_wire\.h": {"node/nft.c", "node/nft_layout.c", "node/nft_read.c", "node/nft_rules.c", "node/nft_wire.c"},
    r"curl/.*": set(),
    r"systemd/.*": {"proto/loop.c", "proto/log.c"},
    r"czmq\.h": {"proto/loop.c"},
    r"pcre2\.h": {"node/rules.c", "node/rules_load.c"},
    r"confuse\.h": {"proto/conf.c", "node/rules.c", "node/rules_load.c"},
}
SIGNING = re.compile(r"\bcrypto_(sign|box)\w*\(")
SIGNING_FILES = {"proto/key.c"}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def sources(*suffixes):
    """Every file of the modules that ends so, as (path from the root, text)."""
    for module in MODULES:
        for p in sorted((ROOT / module).rglob("*")):
            if p.is_file() and p.suffix in suffixes and "corpus" not in p.parts and "__pycache__" not in p.parts:
                yield p.relative_to(ROOT).as_posix(), p.read_text(errors="replace")


def includes(text):
    return [(kind, name) for kind, name in INCLUDE.findall(text)]


def is_test(path):
    return "/test/" in path or "/fuzz/" in path


def test_only_the_agreed_folders_are_at_the_top():
    top = {p.name for p in ROOT.iterdir() if p.name != "build"}
    assert {t for t in top if not t.startswith(".")} <= TOP_LEVEL


def test_every_source_names_its_licence_in_its_first_lines():
    missing = [path for path, text in sources(".c", ".h", ".py", ".proto")
               if "SPDX-License-Identifier: MPL-2.0" not in "\n".join(text.splitlines()[:3])]
    assert missing == []


def test_includes_are_written_from_the_root():
    wrong = [f"{path}: {name}" for path, text in sources(".c", ".h") for kind, name in includes(text)
             if kind == '"' and name.split("/")[0] not in MODULES]
    assert wrong == []


def test_includes_point_down_only():
    wrong = []
    for path, text in sources(".c", ".h"):
        module = path.split("/")[0]
        for kind, name in includes(text):
            if kind == '"' and not {name, name.split("/")[0]} & MAY_INCLUDE[module]:
                wrong.append(f"{path} includes {name}")
    assert wrong == []


@pytest.mark.parametrize("header", WRAPPED, ids=lambda h: h.replace("\\", ""))
def test_a_wrapped_library_is_seen_by_few(header):
    pattern = re.compile(header)
    seen = {path for path, text in sources(".c", ".h") for _, name in includes(text)
            if pattern.fullmatch(name) and not is_test(path)}
    assert seen <= WRAPPED[header]


def test_nothing_of_lmdb_is_seen_outside_its_engine():
    wrong = [path for path, text in sources(".c", ".h") if not path.startswith("store/lmdb") and not is_test(path)
             and re.search(r"\b(mdb_\w+|MDB_\w+)\b", re.sub(r"/\*.*?\*/", "", text, flags=re.S))]
    assert wrong == []


def test_only_one_file_signs_and_verifies():
    seen = {path for path, text in sources(".c", ".h") if SIGNING.search(text) and not is_test(path)}
    assert seen <= SIGNING_FILES


def test_no_source_is_unfinished_or_speaks_of_somebodys_machine():
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|/tmp/w/|/work/|\b[Ff]or now\b|\bstub\b")
    wrong = [f"{path}:{text[:m.start()].count(chr(10)) + 1}: {m.group()}" for path, text in sources(".c", ".h", ".proto", ".py")
             for m in words.finditer(text) if path != "integration/test/test_layout.py"]
    assert wrong == []


def functions(text):
    """(name, lines, what stands in the comment before it) of each function; in this style one ends with a brace in
    the first column."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line != "{":
            continue
        start = i
        while start and lines[start - 1] and lines[start - 1][0] not in "}/# *":
            start -= 1
        end = next(j for j in range(i, len(lines)) if lines[j].startswith("}"))
        before = start - 1
        while before >= 0 and lines[before].startswith((" *", "/*")):
            before -= 1
        name = re.search(r"(\w+)\(", " ".join(lines[start:i]))
        yield name.group(1) if name else "?", end - start + 1, "\n".join(lines[before + 1:start])


def test_a_long_function_gives_its_reason():
    wrong = [f"{path}: {name}() has {n} lines" for path, text in sources(".c", ".h") if not is_test(path)
             for name, n, comment in functions(text) if n > 60 and not comment]
    assert wrong == []


def test_functions_stay_short():
    sizes = sorted(n for path, text in sources(".c") if not is_test(path) for _, n, _ in functions(text))
    assert sizes[len(sizes) // 2] <= 15
    assert sizes[len(sizes) * 9 // 10] <= 45


def manual(path):
    return (ROOT / path).read_text().replace("\\-", "-")


@pytest.mark.parametrize("source, table, page, conf", [
    ("node/options.c", "options_table", "node/man/kban-node.8", "node/node.conf"),
    ("broker/main.c", "options", "broker/man/kban-broker.8", "broker/broker.conf")])
def test_options_manual_and_example_name_the_same(source, table, page, conf):
    text = (ROOT / source).read_text()
    rows = re.search(r"struct kban_conf_option " + table + r"\[\] = \{(.*?)\n\};", text, re.S).group(1)
    names = re.findall(r'(?:^|\n)\s*(?:TEXT\((\w+)|NUMBER\("([\w-]+)"|\{"([\w-]+)")', rows)
    names = [a or b or c for a, b, c in names]
    assert len(names) >= 4
    page_text, example = manual(page), (ROOT / conf).read_text()
    items = " ".join(re.findall(r"^\.It Cm (.*)$", page_text, re.M)).replace(",", " ").split()
    assert [n for n in names if n not in items] == []
    assert [n for n in items if n not in names] == [], "the manual names an option that there is not"
    shown = re.findall(r"^#?\s?([a-z][a-z-]*)\s*=", example, re.M)
    assert shown and [n for n in shown if n not in names] == [], "the example has an option that there is not"


def test_every_command_and_its_options_are_in_the_manual():
    text = (ROOT / "cli/commands.c").read_text()
    page = manual("cli/man/kbanctl.1")
    rows = re.findall(r'\{"(\w+)",\s*(?:"(\w+)"|NULL),\s*((?:"[^"]*"\s*)+),', text)
    assert len(rows) > 15
    for noun, verb, grammar in rows:
        item = f".Cm {noun} {verb}".rstrip() + "\n"
        assert item in page
        block = page.split(item, 1)[1].split("\n.Xc", 1)[0]
        for option in re.findall(r"--([\w-]+)", grammar):
            assert f"Fl -{option}" in block, f"{noun} {verb} --{option}"


def test_every_exit_code_is_in_the_manual():
    text = (ROOT / "cli/command.h").read_text()
    codes = re.findall(r"CLI_\w+ = (\d+)", text)
    section = manual("cli/man/kbanctl.1").split(".Sh EXIT STATUS", 1)[1].split(".Sh", 1)[0]
    assert codes == re.findall(r"^\.It (\d+)$", section, re.M)


def test_every_outside_decoder_has_a_fuzz_target_with_seeds():
    for target in sorted(ROOT.glob("*/fuzz/fuzz_*.c")):
        corpus = target.parent / "corpus" / target.stem.removeprefix("fuzz_")
        assert corpus.is_dir() and any(corpus.iterdir()), f"{target} has no seeds"


def test_what_the_readme_links_to_is_there():
    text = (ROOT / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (ROOT / link).exists(), link
    for path in re.findall(r"`((?:proto|store|node|broker|cli|integration)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("kind", ["OUTCOME", "REFUSAL"])
def test_every_number_that_travels_is_in_the_protocol(kind):
    header, names = (ROOT / "proto/wire.h").read_text(), (ROOT / "proto/outcome.c").read_text()
    numbers = dict(re.findall(rf"(KBAN_{kind}_\w+) = (\d+),", header))
    words = dict(re.findall(rf'\[(KBAN_{kind}_\w+)\] = "([^"]+)"', names))
    assert numbers.keys() == words.keys()
    page = (ROOT / "proto/PROTOCOL.md").read_text()
    assert [f"{n} `{words[k]}`" for k, n in numbers.items() if n != "0" and f"{n} `{words[k]}`" not in page] == []


def test_every_field_of_the_schema_that_the_protocol_names_is_there():
    schema, page = (ROOT / "proto/kban.proto").read_text(), (ROOT / "proto/PROTOCOL.md").read_text()
    messages = set(re.findall(r"^message (\w+)", schema, re.M))
    assert {m for m in re.findall(r"^(\w+) \{", page, re.M)} <= messages
    assert [f"{m}.{f}" for m, f in re.findall(r"`(\w+)\.(\w+)`", page) if m in messages
            and not re.search(rf"message {m} \{{[^}}]*\b{f} = ", schema, re.S)] == []


def test_every_result_that_the_ledger_gives_is_specified():
    page = (ROOT / "store/LEDGER.md").read_text() + (ROOT / "proto/PROTOCOL.md").read_text()
    used = {w for path, text in sources(".c") if path.startswith("store/") and not is_test(path)
            for w in re.findall(r"KBAN_(?:OUTCOME|REFUSAL)_(\w+)", text)}
    words = {w.lower().replace("_", "-") for w in used} - {"none"}
    assert sorted(w for w in words if f"`{w}`" not in page) == []
