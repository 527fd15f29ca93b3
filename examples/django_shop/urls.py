"""The shop's one page, and the dashboard for its staff."""

from django.urls import include, path
from shop.views import sign_up

urlpatterns = [path("accounts", sign_up), path("fastq/", include("fastq.django.urls"))]
