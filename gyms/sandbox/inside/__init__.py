"""What runs on the far side of the wall: standard library only, sent as source to an interpreter of its own.

Nothing here is imported by a worker for its effects. `gyms.sandbox.bundle` sends these files, as text, to a fresh
interpreter that knows no project, no site-packages and no environment. What is here is visible to submitted code, so
it may hold nothing that is worth seeing: no test, no expected result, no path of the host.
"""
