"""On PostgreSQL, words of concepts in a table of their own: by block of numbers, apart from the wide rows."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    op.execute(
        "CREATE TABLE terminology_words ("
        ' release_id integer NOT NULL, block integer NOT NULL, word text COLLATE "C" NOT NULL,'
        " numbers integer[] NOT NULL,"
        " CONSTRAINT pk_terminology_words PRIMARY KEY (release_id, block, word))"
    )
    op.execute(
        "INSERT INTO terminology_words (release_id, block, word, numbers)"
        " SELECT release_id, number >> 13, word, array_agg(number)"
        " FROM terminology_concept, unnest(string_to_array(words, ' ')) AS word WHERE word <> ''"
        ' GROUP BY 1, 2, 3 ORDER BY 1, 2, word COLLATE "C"'
    )
    op.execute("DROP INDEX ix_terminology_concept_words")
