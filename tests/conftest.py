"""Fixtures that several test files share."""

from tests.browser import browser as browser
