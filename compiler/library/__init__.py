"""The named losses: `.loss` files, one topic a file, each definition with its source; see `lossc.grammar.library`."""
