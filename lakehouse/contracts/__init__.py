"""Pure declarations (stdlib, pyarrow, pydantic): columns, tables, vocabularies, layout. Importable by every package."""
