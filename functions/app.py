"""The Vercel entry; everything else is in the package."""

from copperplate.http.app import create_app

app = create_app()
