"""The report: reads finished runs, groups them into conditions, compares these, and states the result.

``reading`` and ``answers`` read and check the runs; ``variants`` and ``conditions`` group them over seeds; ``stats``
and ``claims`` give intervals and tests; ``comparisons`` chooses what is compared; ``notes`` lists caveats; ``wording``
puts it in words; ``report`` holds it together. ``document``, ``figure``, ``page`` and ``terminal`` show it; ``writing``
writes the files; ``tracked`` logs it to W&B.
"""
