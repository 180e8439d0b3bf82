"""The report: reads finished runs, groups them into conditions, compares them, and tells the result.

``reading`` and ``answers`` read and check the runs, ``variants`` and ``conditions`` group them by seed, ``stats`` and
``claims`` say how sure a figure is, ``comparisons`` what is held against what, ``notes`` what speaks against trusting
it, ``wording`` puts it in words; ``report`` holds it together. ``document``, ``figure``, ``page`` and ``terminal`` show
it, ``writing`` writes the files, ``tracked`` logs it to W&B.
"""
