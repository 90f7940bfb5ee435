"""Fixtures that several test files share, and examples that are the same in every run.

`pytest --hypothesis-profile=default` draws new ones.
"""

from hypothesis import settings

from tests.browser import browser as browser

settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")
