"""Trains the predictor that ships: how likely is each of some ninety models to answer a prompt right?

Reads three public tables of who answered what right, from ../shared/data/routing beside the repository:

    routellm_mmlu.csv.gz   10,915 MMLU questions of 43 subjects, 2 models    lm-sys/RouteLLM, Apache-2.0
    mmlu_pro.csv.gz         7,970 questions of 10 categories, 29 models      TIGER-AI-Lab/MMLU-Pro, Apache-2.0
    zeroeval.csv.gz         1,472 mathematics problems, 60 models            WildEval/ZeroEval, Apache-2.0

and writes src/freehold/decide/predict/default.bin: the term vectors, the heads, and nothing of the prompts but single
words and pairs of neighbouring words that at least three of them have. A few minutes on one core, no GPU. One seed
gives one file on one kind of machine. How good it is, and for what: models/routing.md.

    pip install 'freehold[own]'
    python models/train_routing.py                         # write the file that ships
    python models/train_routing.py --out elsewhere.bin --data FOLDER --seed 1
"""

import argparse
import time
from pathlib import Path

from freehold.decide.predict import dumps, loads, save
from freehold.measure.routing.fit import fit
from freehold.measure.routing.tables import Outcomes, Table, join, read

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "routing"
OUT = ROOT / "src" / "freehold" / "decide" / "predict" / "default.bin"
FILES = ("routellm_mmlu.csv.gz", "mmlu_pro.csv.gz", "zeroeval.csv.gz")
LARGEST = 2_000_000
MADE = (
    "MMLU outcomes of lm-sys/RouteLLM, outcomes of TIGER-AI-Lab/MMLU-Pro and of WildEval/ZeroEval, all Apache-2.0; "
    "models/train_routing.py"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = join([bare(read(options.data / name)) for name in FILES])
    print(f"{len(table)} prompts, {len(table.models)} models")
    begun = time.perf_counter()
    predictor = fit(table.prompts, table.outcomes(), seed=options.seed, tasks=table.tasks, made=MADE)
    size = len(dumps(predictor))
    print(f"{time.perf_counter() - begun:.0f} s, {size:,} bytes, basis {predictor.id}, penalty chosen inside")
    assert size <= LARGEST, f"more than {LARGEST:,} bytes do not ship"
    assert loads(dumps(predictor)).id == predictor.id
    save(predictor, options.out)


def bare(table: Table) -> Table:
    """Models without their publisher, so that one which stands in several tables gets one head."""
    table.models = {name.rpartition("/")[2]: column for name, column in table.models.items()}
    assert all(isinstance(column, Outcomes) for column in table.models.values())
    return table


if __name__ == "__main__":
    main()
