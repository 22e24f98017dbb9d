"""The engine of the labs: one master a lab; built, proven, and graded at arm's length.

``rlcourse lab build | check | grade | new``. A lab's master is one text file (:mod:`~rlcourse.grading.master`).
Its tests run in a trusted process and call what a student has written in another one, which the system locks
in (:mod:`~rlcourse.grading.sandbox`); only values pass between the two (:mod:`~rlcourse.grading.values`).
"""
