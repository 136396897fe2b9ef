"""Run-time analysis: function bodies, partially evaluated, to the typed IR."""
