"""Files of any content are read, or refused in one sentence.

Every reader of the library gets valid small files that were changed in bytes, numbers, lengths and
pieces. What may come back is a value, or a `ValueError`, `TypeError` or `OSError` of one sentence
that names the file. All else is a finding: another exception, a process that dies, more than 5 s,
or more than 2 GB. A file with an outcome that no other had before is changed further, so that
changes add up.
"""
