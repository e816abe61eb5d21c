"""The named losses: `.loss` files, one topic a file, each definition with its source. Read by `lossc.grammar.library`."""
