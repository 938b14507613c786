"""The sample data set: cut-out photographs pasted on backgrounds, made from one seed.

``catalogue`` says which cut-outs are used for what, ``fetch`` finds them on the machine, ``backgrounds`` and
``compose`` make pictures, ``classification`` and ``captioning`` write the two data sets.
"""
