"""The dashboard for members of the staff: `path("fastq/", include("fastq.django.urls"))`."""

from __future__ import annotations

from django.urls import path

from fastq.django.views import dashboard

app_name = "fastq"
urlpatterns = [path("<path:page>", dashboard()), path("", dashboard())]
