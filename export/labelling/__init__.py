"""Labels with less work: which photos to label next, which to label by machine, which labels to doubt."""
