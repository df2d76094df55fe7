"""The days of the data, which the feeds and both marts are partitioned by."""

import dagster as dg

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-01")
