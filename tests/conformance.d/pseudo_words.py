#!/usr/bin/env python3
"""The corpora with every word replaced by a pseudo-word of the same shape: pseudo_words.py SRC OUT SEED

A word is a run of two or more letters with no digit beside it. Letters keep their case, vowels stay vowels; within a corpus a word
always becomes the same pseudo-word, in lines and truth alike. What a miner knows by vocabulary is lost, what it knows by shape
is not, so a score that holds here was not fitted to words.
"""
import os, random, re, sys

src, out, seed = sys.argv[1:4]
WORD = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2,}(?![0-9A-Za-z])")


def replacer(rnd):
    made = {}

    def replace(match):
        word = match.group()
        if word not in made:
            made[word] = "".join(
                p.upper() if c.isupper() else p
                for c in word for p in [rnd.choice("aeiou" if c.lower() in "aeiou" else "bcdfghjklmnpqrstvwxyz")])
        return made[word]
    return lambda text: WORD.sub(replace, text)


for name in sorted(os.listdir(src)):
    if not os.path.exists(f"{src}/{name}/truth.tsv"):
        continue
    change = replacer(random.Random(f"{seed} {name}"))
    os.makedirs(f"{out}/{name}", exist_ok=True)
    for file in ("content.log", "raw.log"):
        with open(f"{src}/{name}/{file}", newline="\n") as i, open(f"{out}/{name}/{file}", "w", newline="\n") as o:
            o.write(change(i.read()))
    with open(f"{src}/{name}/truth.tsv", newline="\n") as i, open(f"{out}/{name}/truth.tsv", "w", newline="\n") as o:
        o.write(i.readline())
        for line in i:
            columns = line.rstrip("\n").split("\t")
            o.write("\t".join(columns[:2] + [change(c) for c in columns[2:]]) + "\n")
