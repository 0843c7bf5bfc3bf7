# SPDX-License-Identifier: MPL-2.0
"""The shape of the tree: which folder may include which, who sees a wrapped library, what every source and every
option must have. Nothing of kban is built or run."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("proto", "store", "node", "broker", "cli", "integration")
TOP_LEVEL = {"proto", "store", "node", "broker", "cli", "integration", "ansible", "CMakeLists.txt", "CMakePresets.json",
             "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}

# What a module's own programs may include. cli explains and replays lines by a node's rules and detector, and shows
# nothing else of a node.
MAY_INCLUDE = {
    "proto": {"proto"},
    "store": {"store", "proto"},
    "node": {"node", "store", "proto"},
    "broker": {"broker", "store", "proto"},
    "cli": {"cli", "store", "proto", "node/rules.h", "node/rules_time.h", "node/detector.h"},
    "integration": {"integration", "broker", "node", "cli", "store", "proto"},
}

# Who may see a wrapped library's header; tests and fuzz targets besides are named where they make bad input with it.
WRAPPED = {
    r"lmdb\.h": {"store/lmdb_engine.h"},
    r"store/lmdb_engine\.h": {"store/lmdb.c", "store/lmdb_open.c"},
    r"proto/kban\.pb-c\.h": {"proto/pb.h"},
    r"proto/pb\.h": {"proto/pb.c", "proto/wire.c", "proto/report.c"},
    r"libmnl/.*": {"node/nft_wire.h", "integration/bench/interval.c"},  # a rival design, measured
    r"libnftnl/.*": {"node/nft_layout.c", "node/nft_rules.c", "node/nft_wire.h"},
    r"node/nft_wire\.h": {"node/nft.c", "node/nft_layout.c", "node/nft_read.c", "node/nft_rules.c", "node/nft_wire.c"},
    r"curl/.*": set(),
    r"systemd/.*": {"proto/loop.c", "proto/log.c"},
    r"czmq\.h": {"proto/loop.c"},
    r"pcre2\.h": {"node/rules.c", "node/rules_compile.c"},
    r"confuse\.h": {"proto/conf.c", "node/rules_load.c"},
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


OPTION_TABLES = [("node/options.c", "options_table", "node/man/kban-node.conf.5", "node/node.conf"),
                 ("broker/main.c", "options", "broker/man/kban-broker.conf.5", "broker/broker.conf")]


def option_rows(source, table):
    """(name, the rest of its row) of each option of a table."""
    text = (ROOT / source).read_text()
    rows = re.search(r"struct kban_conf_option " + table + r"\[\] = \{(.*?)\n\};", text, re.S).group(1)
    starts = list(re.finditer(r'(?:^|\n)\s*(?:TEXT\((\w+)|NUMBER\("([\w-]+)"|\{"([\w-]+)")', rows))
    ends = [m.start() for m in starts[1:]] + [len(rows)]
    return [(m[1] or m[2] or m[3], rows[m.end():end]) for m, end in zip(starts, ends)]


def option_items(page):
    """{option: the words of its item} of a manual; one item may be of several options."""
    items = {}
    for head, body in re.findall(r"^\.It Cm (.*)$\n((?:(?!\.It |\.El)[^\n]*\n)*)", manual(page), re.M):
        for name in head.replace(",", " ").split():
            items[name] = body
    return items


@pytest.mark.parametrize("source, table, page, conf", OPTION_TABLES)
def test_options_manual_and_example_name_the_same(source, table, page, conf):
    names = [name for name, _ in option_rows(source, table)]
    assert len(names) >= 4
    items = option_items(page)
    assert [n for n in names if n not in items] == []
    assert [n for n in items if n not in names] == [], "the manual names an option that there is not"
    shown = re.findall(r"^#?\s?([a-z][a-z-]*)\s*=", (ROOT / conf).read_text(), re.M)
    assert shown and [n for n in shown if n not in names] == [], "the example has an option that there is not"


@pytest.mark.parametrize("source, table, page, conf", OPTION_TABLES)
def test_the_manual_gives_each_options_default_and_range(source, table, page, conf):
    items, wrong = option_items(page), []
    for name, row in option_rows(source, table):
        fallback = re.search(r'"((?:\\.|[^"\\])*)"', row[row.index(","):]) if "," in row else None
        words = re.findall(r"[\w./:*-]+", fallback[1].replace("\\", "")) if fallback else []
        numbers = re.match(r', \w+, "\d+", (\d+), (\d+),', row)
        if numbers:
            words += [f"{numbers[1]} to {numbers[2]}"]
        wrong += [f"{name}: {w}" for w in words if w not in items[name]]
    assert wrong == []


@pytest.mark.parametrize("source, page", [("node/main.c", "node/man/kban-node.8"), ("broker/main.c", "broker/man/kban-broker.8")])
def test_every_option_of_a_daemons_command_line_is_in_its_manual(source, page):
    longs = re.search(r"struct option longs\[\] = \{(.*?)\n\t\};", (ROOT / source).read_text(), re.S).group(1)
    names = re.findall(r'\{"([\w-]+)"', longs)
    items = " ".join(re.findall(r"^\.It Fl (.*)$", manual(page), re.M)).split()
    assert names and [n for n in names if "-" + n not in items] == []
    assert [i for i in items if len(i) > 2 and i.startswith("-") and i[1:] not in names] == []


def manuals():
    return sorted(p for m in MODULES for p in (ROOT / m).glob("man/*.[1-9]"))


def test_every_program_and_every_file_has_a_manual():
    built = " ".join(p.read_text() for m in MODULES for p in (ROOT / m).glob("CMakeLists.txt"))
    programs = re.findall(r"kban_install_daemon\(([\w-]+)\)", built) + re.findall(r"install\(TARGETS ([\w-]+) RUNTIME", built)
    assert len(programs) >= 3
    names = {p.name for p in manuals()}
    assert [p for p in programs if not {p + ".1", p + ".8"} & names] == []
    files = [f"kban-{p.name}.5" for m in MODULES for p in (ROOT / m).glob("*.conf")]
    files += [f"kban-{p.parent.name}.5" for m in MODULES for p in (ROOT / m).glob("*/*.rules")]
    assert files and [f for f in files + ["kban-identity.5"] if f not in names] == []


def test_mandoc_has_no_complaint():
    said = subprocess.run(["mandoc", "-Tlint", "-Wwarning", *map(str, manuals())], capture_output=True, text=True)
    assert said.stdout + said.stderr == ""


def test_a_manual_that_is_referred_to_is_there():
    ours = {tuple(p.name.rsplit(".", 1)) for p in manuals()}
    named = {(name, section, p.name) for p in manuals() for name, section in
             re.findall(r"^\.Xr (kban[\w.-]*) (\d)", manual(p), re.M)}
    named |= {(name, section, path) for path, text in sources(".c", ".h") for name, section in
              re.findall(r"\b(kban[\w.-]*)\((\d)\)", text) if section in "1578"}
    assert [n for n in named if n[:2] not in ours] == []


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
    text = "".join((ROOT / page).read_text() for page in ("README.md", "CONTRIBUTING.md"))
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
