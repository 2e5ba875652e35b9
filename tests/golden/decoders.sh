#!/usr/bin/env bash
# Goal: no decoder of foreign bytes without a fuzz target. tests/fuzz/decoders.tsv is the list. Method: every function of a header whose name
# says that it reads, and which takes bytes, stands in it; every row's decoder exists, and its target names it or what leads to it, and
# has a corpus. Prints "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
python3 - <<'PY'
import pathlib, re, sys

READS = re.compile(r"^[a-z][\w \*]*?\b(\w*_(?:decode|parse|parse_\w+|extract|restore|read|read_\w+|load|load_\w+|skip|mask_secrets|learn)|parse|load)"
                   r"\(([^;{]*)\)\s*;", re.M | re.S)
BYTES = re.compile(r"const (void|char|uint8_t) \*|json_node")
text = {p: re.sub(r"/\*.*?\*/", "", p.read_text(), flags=re.S)
        for top in ("include", "src") for p in sorted(pathlib.Path(top).rglob("*.[ch]"))}
passed, bad, rows = 0, 0, []


def check(ok, word):
    global passed, bad
    passed, bad = passed + ok, bad + (not ok)
    if not ok:
        print(word)


for n, line in enumerate(pathlib.Path("tests/fuzz/decoders.tsv").read_text().splitlines(), 1):
    if line.startswith("#"):
        continue
    cells = line.split("\t")
    check(len(cells) == 4, f"decoders.tsv:{n}: not four cells")
    if len(cells) == 4:
        rows.append((n, *cells))
listed = {r[2] for r in rows}
for path, code in text.items():
    if path.suffix != ".h":
        continue
    for name, arguments in READS.findall(code):
        if BYTES.search(arguments):
            check(name in listed, f"{path}: {name} reads bytes; tests/fuzz/decoders.tsv does not say which target fuzzes it")
targets = set()
for n, what, decoder, target, through in rows:
    check(any(re.search(rf"\b{decoder}\(", code) for code in text.values()), f"decoders.tsv:{n}: there is no {decoder}")
    if target == "-":
        continue
    targets.add(target)
    source = pathlib.Path(f"tests/fuzz/fuzz_{target}.c")
    check(source.is_file() and (through or decoder) in source.read_text(), f"decoders.tsv:{n}: {source} does not call {through or decoder}")
    check(any(pathlib.Path(f"tests/fuzz/corpus/{target}").glob("*")), f"decoders.tsv:{n}: target {target} has no corpus")
for source in pathlib.Path("tests/fuzz").glob("fuzz_*.c"):
    check(source.stem[5:] in targets, f"{source}: decoders.tsv does not say what it fuzzes")
print(f"{passed} passed, {bad} failed")
sys.exit(bad > 0)
PY
