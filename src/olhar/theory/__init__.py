"""Chapter 1 of the notes as functions: likelihood, the chain rule, backpropagation, decay, capacity."""
