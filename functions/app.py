"""The Vercel entry; everything else is in the package."""

from copperplate.http.entry import Entry

app = Entry()
