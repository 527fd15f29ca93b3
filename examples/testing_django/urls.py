"""One view, which makes a user and enqueues a job in the same transaction."""

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from jobs import app, welcome


@transaction.atomic
def sign_up(request: HttpRequest) -> JsonResponse:
    user = User.objects.create_user(request.POST["name"], request.POST["email"])
    app.enqueue_sync(welcome.job(user_id=user.pk), conn=connection.connection)
    return JsonResponse({"id": user.pk}, status=201)


urlpatterns = [path("accounts", sign_up)]
