"""What stands between a request, its answer, and those who may see them: the rules of `checks` and `labels` at work.

A request, in the order it meets them:

    checks.py         what the rules of check/ find in it, and what becomes of it then
    guards.py         what owned models find in it: harm, and the names of people (guarded_text.py, consulting.py)
    marks.py          the high-water mark of its conversation; lowered.py what such a mark was lowered to
    flows.py          what it brings along out of tools, and where else it sends something
    pseudonyms.py     placeholders in the place of personal data, for whoever may not see it
    approvals.py      a person is asked; approval_paths.py is how the person answers
    moderating.py     /v1/moderations

Its answer:

    guarding.py       what the rules find in it, whole or streamed
    guards_answer.py  what a guard model says of it
    asking.py         a person is asked about a call that it makes
"""
