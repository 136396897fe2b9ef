"""Programs in CSL: compiled (`cslc`), run (`cs_python`), looked into (`onewafer csl`)."""
