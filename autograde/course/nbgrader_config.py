"""The workbook's nbgrader course, read by `mlsys grade` and by `nbgrader`.

Assignments stand in source/. All else (release, submitted, autograded,
feedback and the sqlite gradebook) the commands make here; git ignores it.
"""

import autograde
from autograde.stubs import NamedStubs
from nbgrader import preprocessors as steps

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "mlsys"

# What a student finds in place of a solution; NamedStubs fills in the name.
c.ClearSolutions.code_stub = {
    "python": '# your code here\nraise NotImplementedError("{task}")'
}
c.ClearSolutions.text_stub = "*Your answer here.*"
c.GenerateAssignment.preprocessors = [
    steps.IncludeHeaderFooter,
    steps.InstantiateTests,
    steps.LockCells,
    NamedStubs,
    steps.ClearOutput,
    steps.CheckCellMetadata,
    steps.ComputeChecksums,
    steps.SaveCells,
    steps.ClearHiddenTests,
    steps.ClearMarkScheme,
    steps.ComputeChecksums,
    steps.CheckCellMetadata,
]

# A cell that runs longer is interrupted and fails; the next ones still run.
c.ExecutePreprocessor.timeout = 10
# A late submission is marked in the table and in the gradebook; what it costs
# is each course's own rule, applied to the exported grades.
c.LateSubmissionPlugin.penalty_method = "none"

# Submissions run in a sandbox, tests outside of it; see autograde/README.md.
autograde.configure(c)
