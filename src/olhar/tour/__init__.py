"""`olhar tour`: the whole system in one command, chapter by chapter in the order of the notes.

Each chapter is a line of the table in chapters.py, with the figures expected of it in expected.py; it does what the
ordinary commands do, through their Python twins, and leaves a run folder that they accept.
"""
