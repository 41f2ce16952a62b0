"""The mathematics of the notes as functions that need no training.

Chapter 1: likelihood, the chain rule, backpropagation, decay, capacity. Of the others what can be computed by hand: a
kernel that slides (2), words that look at words (3), the way of a point into noise and back (5).
"""
