"""What becomes of homes and facts of older versions: `homes` moves a home from one format to the next, `facts` reads
facts of older versions as those of today. Whatever was written once stays readable."""
