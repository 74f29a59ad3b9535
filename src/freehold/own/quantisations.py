"""How large weights are in each quantisation: for room on the disk, and for memory before anything is fetched."""

BITS = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.68, "Q5_K_S": 5.53, "Q5_1": 6.1,
    "Q5_0": 5.6, "Q4_K_M": 4.85, "Q4_K_S": 4.58, "Q4_1": 5.1, "Q4_0": 4.7, "IQ4_NL": 4.6, "IQ4_XS": 4.4, "MXFP4": 4.9,
    "Q3_K_L": 4.27, "Q3_K_M": 3.91, "Q3_K_S": 3.5, "Q2_K": 2.96,
}  # fmt: skip
"""Bits for each weight, as whole models have them: K-quants mix types (llama.cpp, tools/quantize/README.md), the others
keep output weights at 8 bits."""
