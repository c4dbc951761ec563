"""From our model to figures on an Ascend: the files, commands and formats of the offline chain, checked on their way.

Where there is no Ascend, a stand-in runs the same model on the same inputs and leaves the same files, which say so.
"""
