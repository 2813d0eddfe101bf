"""Reads tables, feeds and folders of products as shops have them. Must not import a client, a transport or a model."""
