"""What the notes say that a number, an equation or a library can check: a name for each, and how it is checked.

EX an exact number, CF a closed form, SY sympy, AG autograd, LIB a library, INV a property that must hold. A test says
which it holds with `@pytest.mark.notes("Eq 1.2")`; test_rows.py sees to it that none is left out.
"""

SECTION_1_1 = {
    "Fig 1.1": "INV", "Eq 1.1": "CF", "Eq 1.2": "EX", "Eq 1.3-1.4": "EX", "p1 + 5p = 1": "CF", "Eq 1.5": "EX",
    "40 throws": "EX", "maximum of 40 throws": "EX CF", "Fig 1.2": "EX", "biased die": "EX", "six probabilities": "EX",
    "Eq 1.6": "CF", "Eq 1.7": "EX", "Eq 1.8": "EX", "note 5": "INV", "note 6": "CF", "Eq 1.9": "LIB",
    "Fig 1.3a": "LIB", "Fig 1.3b": "LIB", "four steps": "INV", "six steps": "SY AG", "Eq 1.10-1.11": "CF LIB",
    "Algorithm 1": "INV AG", "backward is the dearest step": "LIB", "one-hot": "LIB", "note 9": "EX",
    "r = (7, 2.1, 1.2, 2.4)": "EX", "Eq 1.12": "EX", "Eq 1.13": "LIB INV", "note 10": "INV", "Eq 1.14": "EX LIB",
    "Eq 1.15": "LIB", "Eq 1.16-1.17": "EX", "cross-entropy is NLL": "INV", "Eq 1.18": "EX LIB",
}  # fmt: skip

SECTION_1_2 = {
    "rate of change": "SY", "bottle": "CF", "f = 3x": "EX", "Table 1.1": "SY", "Eq 1.19-1.21": "SY AG",
    "Eq 1.22": "SY AG", "Eq 1.23": "AG", "Eq 1.24": "SY AG", "forward and back": "AG", "Eq 1.25-1.26": "SY AG",
    "Eq 1.27": "AG INV", "6x1 + 3x2": "EX", "Eq 1.28-1.30": "INV", "Eq 1.31-1.35": "AG", "Eq 1.36-1.38": "LIB",
    "Eq 1.39-1.42": "LIB", "Eq 1.43-1.47": "AG", "Eq 1.48-1.51": "AG", "Eq 1.52-1.54": "AG", "Eq 1.55-1.56": "AG",
    "Eq 1.57-1.59": "AG", "stored activations": "LIB", "Jacobian of a nonlinearity": "AG",
}  # fmt: skip

SECTIONS_1_3_AND_1_4 = {
    "Eq 1.60": "CF", "Eq 1.61-1.63": "EX", "weight_decay": "EX LIB", "Fig 1.4": "INV CF", "Fig 1.5": "CF",
    "Fig 1.6": "CF AG", "logistic regression": "LIB", "Fig 1.7": "EX", "Fig 1.8": "EX", "Fig 1.9": "INV",
}  # fmt: skip

CHAPTER_2 = {
    "Fig 2.1a": "EX LIB", "Fig 2.1b-c": "EX", "Fig 2.2": "EX", "signal of the course": "EX", "Fig 2.3": "EX LIB",
    "2x2 max pool": "LIB", "Fig 2.4a": "INV", "Fig 2.4b": "INV", "Fig 2.5": "INV", "Fig 2.6": "EX LIB",
    "Fig 2.7": "INV",
    "Fig 2.8": "EX LIB", "Fig 2.9a": "EX AG", "Fig 2.9b": "EX AG", "Fig 2.9c": "EX AG", "model of the course": "EX",
    "Fig 2.10": "EX", "upsampling": "LIB INV", "Fig 2.11": "INV", "Fig 2.12a": "EX", "Fig 2.12b": "EX LIB",
    "Fig 2.12c": "CF LIB INV", "Fig 2.13": "EX LIB",
}  # fmt: skip

CHAPTER_3 = {
    "dictionaries": "INV", "Eq 3.1": "LIB", "bateria, battery": "EX", "bateria, house": "EX", "bateria, drums": "EX",
    "casa, house and valor, value": "EX", "bank of two numbers": "EX", "Eq 3.2": "EX", "weight of 0.9": "EX",
    "Eq 3.3": "EX", "cosines in context": "EX", "sentence": "EX", "Eq 3.4": "LIB", "Eq 3.5": "EX",
    "no parameters": "INV", "Eq 3.6": "LIB", "Fig 3.1": "EX", "Fig 3.2a": "EX", "Fig 3.2b": "EX", "Fig 3.3": "EX",
    "images as tokens": "EX LIB",
}  # fmt: skip

CHAPTERS_4_AND_5 = {
    "Fig 4.1": "EX", "Fig 4.2": "LIB INV", "Fig 4.3": "EX LIB", "Fig 5.1": "CF", "Fig 5.2": "EX LIB", "Fig 5.3": "LIB",
}  # fmt: skip

# The errata with their right values: wrong numbers (N), slips in formulas (Q), concepts (K), conventions (C). Q8, Q10,
# K2 and C19 change but a word: there is nothing to compute.
ERRATA = {
    **{f"N{i}": "EX" for i in range(1, 13)},
    **{f"Q{i}": "EX" for i in (*range(1, 8), 9)},
    **{f"K{i}": "EX" for i in (1, 3)},
    **{f"C{i}": "EX" for i in range(1, 19)},
}

ROWS = SECTION_1_1 | SECTION_1_2 | SECTIONS_1_3_AND_1_4 | CHAPTER_2 | CHAPTER_3 | CHAPTERS_4_AND_5 | ERRATA
