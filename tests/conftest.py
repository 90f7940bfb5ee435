"""Fixtures that several test files share, and examples that are the same in every run.

`pytest --hypothesis-profile=default` draws new ones.
"""

from hypothesis import settings

from tests.browser import browser as browser
from tests.typechecker import check_shapes
from tests.typechecker import unchecked as unchecked

check_shapes("attnaudit.attribution", "attnaudit.measures", "attnaudit.models", "attnaudit.nets")

# a deadline would be an assertion on time, which a busy machine breaks
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
