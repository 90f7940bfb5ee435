"""Reports: summary, then template, then file; no statistic is computed here."""
