"""The families that can be converted, one file each; see family.py for what a row means.

`FAMILIES` is the support table: the first row that takes the architecture of a config.json wins.
"""

from freehold.own.convert.families import command_r, deepseek, falcon, gemma, gpt_oss, llama, llama4, phi, qwen
from freehold.own.convert.family import Family

FAMILIES: tuple[Family, ...] = (
    *llama.FAMILIES,
    *llama4.FAMILIES,
    *phi.FAMILIES,
    *command_r.FAMILIES,
    *qwen.FAMILIES,
    *deepseek.FAMILIES,
    *gemma.FAMILIES,
    *falcon.FAMILIES,
    *gpt_oss.FAMILIES,
)
