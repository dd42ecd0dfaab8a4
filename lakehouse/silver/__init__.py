"""Normalised accounts, posts, metrics and links. Value rules are pure modules; steps with Spark sit beside them.

Pure (str and Arrow, no JVM): `missing`, `numbers`, `text`, `handles`, `hosts`, `urls`, `platforms`, `mentions`,
`emails`, `phones`, `countries`, `languages`, `times`, `vocabulary`, `rules`, `rows`, `profile_rows`, `post_rows`.
Spark steps: `observations`, `accounts`, `account_metrics`, `posts`, `links`; `newest` and `rejected` serve them.
"""
