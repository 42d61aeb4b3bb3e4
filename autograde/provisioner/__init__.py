"""Real Jupyter kernels inside the sandbox, for notebooks that a forked Python cannot run: other
languages, comms, what asks for the kernel itself. `local` is the provisioner that starts them,
`guard` the process between grader and kernel, `session` runs a submission's cells in one, `shown`
reads what they show, `needs` says which notebooks need that. The tests of such a notebook run
beside the student's code.
"""
