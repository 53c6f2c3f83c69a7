"""The types under which notebooks store what a page draws; written by ``show``, read by pages."""

PLOTLY = "application/vnd.plotly.v1+json"
CIRCUITSVIS = "application/vnd.circuitsvis.v1+json"
CLAIM = "application/vnd.claimbook.claim.v1+json"
